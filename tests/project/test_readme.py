"""README tells the truth: its snippets print what stands below them, its commands are the ones that CI runs."""

import contextlib
import io
import pathlib
import re
import stat

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, flags=re.M | re.S)


def commands():
    """Set-up commands: lines of shell blocks that make a virtual environment."""
    shell = "\n".join(text for language, text in BLOCKS if language == "bash")
    return [line for line in shell.splitlines() if line.startswith("python3 -m venv")]


def test_snippets_print_what_they_say():
    """All Python snippets run in one namespace; a `text` block right after one is its output."""
    namespace = {}
    for (language, code), (next_language, expected) in zip(BLOCKS, [*BLOCKS[1:], ("", "")], strict=True):
        if language != "python":
            continue
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            exec(compile(code, "README.md", "exec"), namespace)
        if next_language == "text":
            assert output.getvalue().split() == expected.split()


def test_two_commands_set_everything_up():
    demonstrate, test = commands()
    assert demonstrate.endswith(".venv/bin/python -m sparsesolve --out pictures") and '".[plot]"' in demonstrate
    assert ".venv/bin/python -m pytest" in test and '".[test]"' in test


def test_ci_runs_exactly_the_test_command_of_the_readme():
    script = ROOT / ".ci" / "run"
    if not script.exists():
        pytest.skip(".ci/run is not part of an installed package")
    text = script.read_text()
    pattern = re.search(r"grep -m 1 -E '([^']+)' \"\$root/README.md\"", text)
    assert pattern is not None
    first = next(line for line in README.splitlines() if re.search(pattern[1], line))
    assert first == commands()[1]
    assert 'bash -euo pipefail -c "$command"' in text
    assert script.stat().st_mode & stat.S_IXUSR


def test_the_first_screen():
    """What it is, the example with its output and both commands come within the first sixty lines."""
    top = "\n".join(README.splitlines()[:60])
    assert "```python" in top and "```text" in top
    assert all(command in top for command in commands())


def test_figures_name_their_command():
    sections = re.findall(r"^## ([^\n]*(?:Figures|Measured)[^\n]*)\n(.*?)(?=^## |\Z)", README, flags=re.M | re.S)
    assert sections
    for heading, body in sections:
        assert "python -m benchmarks" in body, heading


def test_linked_files_exist():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
