"""ruff and pyright find nothing, and the examples in all docstrings give what they say."""

import doctest
import importlib
import importlib.util
import pathlib
import pkgutil
import subprocess
import sys

import pytest

import sparsesolve

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODULES = sorted(
    info.name
    for info in pkgutil.walk_packages(sparsesolve.__path__, "sparsesolve.")
    if not info.name.endswith("__main__")
)


def run_tool(name, *arguments):
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed; it comes with the [test] extra")
    done = subprocess.run(
        [sys.executable, "-m", name, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_ruff_check():
    run_tool("ruff", "check", ".")


def test_ruff_format():
    run_tool("ruff", "format", "--check", ".")


def test_pyright():
    run_tool("pyright", "--pythonpath", sys.executable)


@pytest.mark.parametrize("package", sorted({name.split(".")[1] for name in MODULES}))
def test_docstring_examples(package):
    for name in MODULES:
        if name.split(".")[1] == package:
            failures, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
            assert failures == 0, name
