"""The examples run small, write their pictures, and end with things to try."""

import pathlib
import runpy
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs_small(path, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(path), "--n", "12", "--out", str(tmp_path)])
    runpy.run_path(str(path), run_name="__main__")
    pictures = sorted(tmp_path.glob("*.png"))
    assert pictures and all(picture.stat().st_size > 5000 for picture in pictures)
    assert capsys.readouterr().out


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_is_literate(path):
    text = path.read_text()
    assert text.count("# %%") >= 4
    assert "# ## Things to try" in text.split("# %%")[-1]


def test_there_are_examples():
    assert [path.stem for path in EXAMPLES][:3] == ["01_bratu", "02_sparsity_tour", "03_linear_solves"]
