"""`python -m sparsesolve` says what it runs on, solves, and draws; without matplotlib it says how to get it."""

import importlib.util
import re
import subprocess
import sys

import pytest

from sparsesolve import __main__ as demonstration


def test_it_solves_and_draws(tmp_path, capsys):
    demonstration.main(["--n", "12", "--out", str(tmp_path / "pictures")])
    text = capsys.readouterr().out
    for word in (
        "jaxlib",
        "devices",
        "back ends",
        "144 unknowns",
        "nnz 672",
        "set-up",
        "compile",
        "GMRES + AMG",
        "Fit of 12 peaks",
        "38 parameters",
        "second call",
    ):
        assert word in text
    assert "Fit of 12 peaks" in text and "38 parameters" in text
    residual = re.search(r"residual (\S+)", text)
    assert residual is not None and float(residual[1]) < 1e-12
    for name in ("bratu_solution.png", "bratu_jacobian.png", "peaks_fit.png", "brusselator_in_time.png"):
        picture = tmp_path / "pictures" / name
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert str(picture) in text


def test_without_matplotlib_it_says_how_to_get_it(tmp_path, capsys, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find_spec(name))
    demonstration.main(["--n", "12", "--out", str(tmp_path)])
    assert 'pip install "sparsesolve[plot]"' in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_it_runs_as_a_module_and_refuses_nonsense():
    run = [sys.executable, "-m", "sparsesolve"]
    done = subprocess.run([*run, "--n", "2"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "--n 4 or more" in done.stderr
    done = subprocess.run([*run, "--help"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "--out" in done.stdout


@pytest.mark.slow
def test_the_full_size():
    done = subprocess.run([sys.executable, "-m", "sparsesolve"], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "65,536 unknowns" in done.stdout and "nnz 326,656" in done.stdout
