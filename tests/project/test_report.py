"""Pictures show what they should, tables line up, and a missing matplotlib is named."""

import builtins
import types

import numpy as np
import pytest
import scipy.sparse

from benchmarks._ode_summary import at_error, curves, equal_accuracy
from sparsesolve import report
from sparsesolve.coloring import color
from sparsesolve.pattern import SparsityPattern


def tridiagonal(n):
    return SparsityPattern.from_scipy(scipy.sparse.diags([np.ones(n - 1), np.ones(n), np.ones(n - 1)], [-1, 0, 1]))


def dark(ax):
    """Which dots of a drawn pattern are not white."""
    return np.any(np.asarray(ax.images[0].get_array()) < 0.99, axis=-1)


def test_spy_draws_small_patterns_exactly():
    pattern = SparsityPattern.from_coo([0, 1, 2], [3, 0, 4], (3, 5))
    ax = report.spy(pattern)
    assert np.array_equal(dark(ax), pattern.to_scipy().toarray() != 0)
    assert ax.get_title() == "3 x 5, 3 entries"


def test_spy_draws_large_patterns_as_density():
    ax = report.spy(tridiagonal(5000), resolution=100)
    assert dark(ax).shape == (100, 100)
    assert np.array_equal(np.diag(dark(ax)), np.ones(100, bool))
    assert dark(ax).sum() <= 300


def test_spy_paints_columns_in_their_colours_and_cuts_windows():
    pattern = tridiagonal(30)
    ax = report.spy(pattern, coloring=color(pattern), window=(10, 20))
    image = np.asarray(ax.images[0].get_array())
    assert image.shape == (10, 10, 3)
    assert len(np.unique(image.reshape(-1, 3), axis=0)) == 3 + 1  # three colours and white


def test_spy_takes_anything_with_a_pattern():
    pattern = tridiagonal(6)
    for matrix in (pattern.to_scipy(), types.SimpleNamespace(pattern=pattern)):
        assert dark(report.spy(matrix)).sum() == pattern.nnz


def test_spy_paints_entries_read_by_rows():
    pattern = tridiagonal(12)
    image = np.asarray(report.spy(pattern, coloring=color(pattern, "row")).images[0].get_array())
    assert len(np.unique(image.reshape(-1, 3), axis=0)) == 3 + 1


def test_plot_field_draws_grids_meshes_and_categories(tmp_path):
    x = np.linspace(0, 1, 9)
    figure, axes = report.new_figure(1, 3)
    report.plot_field(x[:, None] + x[None, :], (x, x), contours=3, title="a grid", ax=axes[0, 0])
    nodes, triangles = np.array([[0.0, 0], [1, 0], [0, 1], [1, 1]]), np.array([[0, 1, 2], [1, 3, 2]])
    report.plot_field(nodes[:, 0], (nodes, triangles), ax=axes[0, 1])
    report.plot_field(np.arange(16).reshape(4, 4), categories=True, ax=axes[0, 2])
    path = report.save_figure(figure, tmp_path / "deep" / "fields.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match=r"shape \(2, 2, 2\)"):
        report.plot_field(np.zeros((2, 2, 2)))


def test_plot_convergence_leaves_out_what_never_happened():
    ax = report.plot_convergence({"a": [1.0, 0.1, np.nan], "b": [2.0, 1.0, 0.5]})
    assert [len(line.get_ydata()) for line in ax.lines] == [2, 3]


def test_tables_line_up():
    table = report.text_table(["peer", "ms"], [["own", "1.0"], ["the other", "12.0"]])
    assert table.splitlines()[2] == "own         1.0"
    with pytest.raises(ValueError, match="cells"):
        report.text_table(["a"], [["1", "2"]])


def test_iteration_table_of_a_solve():
    history = types.SimpleNamespace(residual_norms=np.array([1.0, 1e-4, np.nan]), step_lengths=np.array([1.0, np.nan]))
    lines = report.iteration_table(history).splitlines()
    assert len(lines) == 4 and lines[-1].split() == ["1", "1.0000e-04", "1.0e-04", "1"]


def test_a_missing_matplotlib_is_named(monkeypatch):
    real_import = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.split(".")[0] == "matplotlib":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r"sparsesolve\[plot\]"):
        report.spy(tridiagonal(4))


def test_work_precision_sorts_and_leaves_out_nothing_timed():
    ax = report.plot_work_precision({"a": [(1e-6, 2.0), (1e-3, 1.0)], "none": [(0.0, 1.0)]}, work="steps")
    (line,) = ax.lines
    assert list(line.get_xdata()) == [1e-6, 1e-3] and ax.get_ylabel() == "steps"


def test_benchmark_results_become_curves():
    rows = [
        {"case": f"hires, rtol {tol}", "peer": peer, "error": float(tol), "seconds": 1.0}
        for tol in ("1e-04", "1e-06")
        for peer in ("ours", "theirs")
    ]
    rows += [{"case": "10 x rober, rtol 1e-06", "peer": "vmap", "error": 1e-6, "seconds": 1.0}]
    rows += [{"case": "hires, rtol 1e-06", "peer": "failed", "skipped": "why"}]
    assert curves(rows) == {"hires": {"ours": [(1e-4, 1.0), (1e-6, 1.0)], "theirs": [(1e-4, 1.0), (1e-6, 1.0)]}}


def test_work_at_equal_accuracy_is_compared_where_both_have_been():
    points = [(1e-6, 100.0), (1e-4, 10.0)]
    assert at_error(points, 1e-5) == pytest.approx(10**1.5) and at_error(points, 1e-3) is None
    rows = [
        {"case": f"hires, rtol {e}", "peer": peer, "error": float(e), "seconds": 1.0, "notes": {"steps": steps}}
        for e, steps in (("1e-04", 100), ("1e-06", 1000))
        for peer, steps in (("BDF", steps // 10), ("diffrax Kvaerno5", steps))
    ]
    assert equal_accuracy(rows, "steps").splitlines()[-1].split() == ["hires", "10.0", "to", "10.0"]
    assert equal_accuracy(rows[:1], "steps") == ""
