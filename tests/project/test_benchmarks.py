"""The benchmarks' machinery at tiny sizes: peers agree, wrong answers are not timed, absent peers are named."""

import json

import numpy as np
import pytest

from benchmarks import (
    _direct_peers,
    _ode_batches,
    _ode_ours,
    _ode_peers,
    amg,
    batched,
    coloring,
    detection,
    direct,
    jacobian,
    newton,
    overhead,
    products,
)
from benchmarks.__main__ import NAMES, load, main
from benchmarks._base import Case, SkipError
from benchmarks._harness import Pool, run_case
from benchmarks._matrices import backward_error, matrix, right_hand_side
from benchmarks._newton_peers import splu, splu_gradient
from benchmarks._problems import build, missing_entries, reference_pattern
from benchmarks._report import case_table, duration, summary_table, write_json


@pytest.mark.parametrize("problem", ["bratu_2d", "brusselator", "fem_diffusion"])
def test_detection_finds_exactly_the_assembled_pattern(problem):
    trial = detection.sparsesolve(problem, 6)
    pattern = trial.run()
    assert trial.check(pattern) == 0
    assert missing_entries(reference_pattern(problem, 6), pattern.to_scipy()) == 0


def test_a_missing_entry_is_counted():
    reference = reference_pattern("bratu_2d", 5)
    short = reference.copy()
    short.data[3] = 0
    short.eliminate_zeros()
    assert missing_entries(short, reference) == 1


def test_coloring_trial_is_valid_and_clashes_are_counted():
    trial = coloring.sparsesolve("bratu_2d", 10)
    assert trial.check(trial.run()) == 0
    assert trial.notes["colours"] == 5
    reference = reference_pattern("bratu_2d", 10)
    assert coloring.clashes(reference, np.zeros(100, np.int64)) == reference.nnz - 100


@pytest.mark.parametrize("make", [jacobian.in_a_solve, jacobian.plain_call])
def test_jacobian_trials_agree_with_jvp(make):
    trial = make("reaction_diffusion", 4)
    assert trial.check(trial.run()) < trial.tolerance


def test_newton_trials_reach_their_residual():
    for make in (newton.sparsesolve, splu):
        trial = make("bratu_2d", 8)
        assert trial.check(trial.run()) < trial.tolerance
        assert trial.notes["steps"] == 5


def test_ode_trials_reach_their_tolerance():
    for make in (_ode_ours.ours(None), _ode_peers.scipy_method("BDF")):
        trial = make("hires", None, 1e-4)
        assert trial.check(trial.run()) < trial.tolerance
        assert trial.notes["factorizations"] > 20
    with pytest.raises(SkipError, match="no mass matrices"):
        _ode_peers.scipy_method("BDF")("chemical_akzo", None, 1e-4)


def test_gradients_agree_with_differences():
    for make in (newton.sparsesolve_gradient, splu_gradient):
        trial = make("bratu_2d", 6)
        assert trial.check(trial.run()) < trial.tolerance


def test_a_case_runs_in_processes_of_its_own(tmp_path, monkeypatch):
    case = Case("tiny", {"problem": "brusselator", "n": 6}, ("sparsesolve",))
    (row,) = run_case(load("detection"), case, rounds=2)
    assert row["correct"] and row["seconds"] > 0 and row["runs"] == 2 and row["notes"]["nnz"] == 12 * 36
    monkeypatch.setattr("benchmarks._report.RESULTS", tmp_path)
    record = json.loads(write_json("detection", "title", True, [row]).read_text())
    assert record["versions"]["jax"] and record["device"] and record["rows"][0]["case"] == "tiny"


def test_cases_of_a_group_share_their_processes():
    benchmark = load("detection")
    pool = Pool(benchmark)
    cases = [Case(f"tiny {n}", {"problem": "brusselator", "n": n}, ("sparsesolve",), "tiny") for n in (5, 6)]
    (first,) = run_case(benchmark, cases[0], rounds=1, pool=pool)
    process = pool.workers["sparsesolve"].process.pid
    (second,) = run_case(benchmark, cases[1], rounds=1, pool=pool)
    assert pool.workers["sparsesolve"].process.pid == process
    assert [row["notes"]["nnz"] for row in (first, second)] == [12 * 25, 12 * 36]
    pool.workers["sparsesolve"].given_up = True
    assert "given up" in run_case(benchmark, cases[1], rounds=1, pool=pool)[0]["failed"]
    pool.close()
    assert not pool.workers


def test_a_loop_over_a_part_counts_for_the_whole():
    trial = _ode_batches.scipy_loop("rober", 20, 1e-4)
    assert trial.share == 4 and trial.notes["systems"] == "5 of 20, times 4"


def test_a_peer_that_fails_is_named_and_does_not_stop_the_others():
    case = Case("tiny", {"problem": "unknown", "n": 6}, ("sparsesolve",))
    (row,) = run_case(load("detection"), case, rounds=1)
    assert "AttributeError" in row["failed"] and "unknown" in case_table([row])


def test_wrong_answers_and_absent_peers_are_told_below_the_table():
    good = {"peer": "own", "seconds": 0.5, "error": 0.0, "setup_seconds": None, "compile_seconds": 1.0, "notes": {}}
    good["memory_megabytes"] = 3.0
    wrong = {"peer": "other", "error": 1.0, "tolerance": 1e-8, "what": "relative residual"}
    table = case_table([good, wrong, {"peer": "third", "skipped": "asdex is not installed"}])
    assert "relative residual 1.0e+00 exceeds 1e-08, not timed" in table
    assert "third: skipped, asdex is not installed" in table
    assert "500 ms" in table


def test_every_benchmark_names_peers_that_exist():
    for name in NAMES:
        benchmark = load(name)
        for quick in (False, True):
            for case in benchmark.cases(quick):
                assert set(case.peers) <= set(benchmark.peers)
        assert benchmark.name == name


def test_unknown_names_are_refused(capsys):
    with pytest.raises(SystemExit):
        main(["no_such_benchmark"])
    assert "there are detection, coloring" in capsys.readouterr().err


def test_durations_have_units():
    assert [duration(x) for x in (None, 2.5, 0.012, 3e-6)] == ["", "2.5 s", "12 ms", "3 us"]
    assert build("bratu_2d", 4).num_unknowns == 16


def _passes(trial):
    assert trial.check(trial.run()) <= trial.tolerance
    for part in trial.parts.values():
        part()


def test_direct_trials_solve():
    for arguments in (("convection_diffusion", [9, 7]), ("chemistry", [12])):
        _passes(direct.sparsesolve(*arguments))
        _passes(_direct_peers.superlu(*arguments))


@pytest.mark.parametrize("peer", ["pardiso", "pardiso_cholesky", "klu", "umfpack", "cholmod"])
def test_other_direct_solvers_solve_where_they_are_installed(peer):
    try:
        _passes(getattr(_direct_peers, peer)("jumping_diffusion", [9]))
    except ImportError as error:
        pytest.skip(f"{error.name} is not installed")


def test_multigrid_trials_solve_and_a_wrong_solution_is_seen():
    trial = amg.sparsesolve("mesh", 16, 100.0)
    _passes(trial)
    assert 0 < trial.notes["steps"] < 10 and trial.check(np.zeros(14**2)) == 1
    _passes(amg.plain("3-D", 5, 10.0))
    _passes(amg.sparsesolve_direct("2-D", 9, 1.0))


def test_pyamg_solves_where_it_is_installed():
    pytest.importorskip("pyamg")
    _passes(amg.pyamg("2-D", 25, 100.0))


def test_batched_trials_solve_and_a_wrong_member_is_seen():
    trial = batched.sparsesolve("block_tridiagonal", [5, 3], 4)
    _passes(trial)
    x = np.array(trial.run())
    x[-1] += 1.0
    assert trial.check(x) > 1e-3
    _passes(batched.superlu("block_tridiagonal", [5, 3], 4))
    _passes(batched.dense("block_tridiagonal", [5, 3], 4))


def test_products_agree_with_scipy():
    for name, arguments in (("convection_diffusion", [7, 9]), ("circuit", [60])):
        for make in (products.sparsesolve, products.scipy_csr, products.bcsr):
            _passes(make(name, arguments))


def test_overhead_trials_are_right():
    _passes(overhead.calls(50))
    _passes(overhead.callbacks(50))


def test_plans_are_timed_without_metis(monkeypatch):
    from sparsesolve.direct import _ordering

    monkeypatch.setattr(_ordering, "_metis", _ordering._metis)  # the trial replaces it
    trial = overhead.plan([12, 11])
    assert trial.check(trial.run()) <= trial.tolerance
    trial.parts["METIS"]()


def test_matrices_by_name():
    a = matrix("brusselator", 5)
    assert a.shape == (50, 50) and a.nnz == 50 * 6
    b = right_hand_side(a)
    assert backward_error(a, np.linalg.solve(a.toarray(), b), b) < 1e-14 < backward_error(a, b, b)


def test_absent_files_and_devices_are_told(monkeypatch, tmp_path):
    monkeypatch.setenv("SPARSESOLVE_DATA", str(tmp_path))
    with pytest.raises(SkipError, match="set SPARSESOLVE_DATA"):
        matrix("west0479")
    (row,) = run_case(load("direct"), direct.gpu_cases(True)[0], rounds=1)[:1]
    assert "skipped" in row or row["correct"]


def test_the_summary_has_a_line_a_case():
    rows = [
        {"case": case, "peer": peer, "seconds": seconds, "parts": {"solve": seconds / 10}}
        for case in ("a", "b")
        for peer, seconds in (("own", 0.5), ("other", 1.0))
    ]
    lines = summary_table(rows).splitlines()
    assert lines[0] == "(time / solve; ratios in the same order)" and len(lines) == 5
    assert lines[3].split() == ["a", "500", "ms", "/", "50", "ms", "2.00", "/", "2.00"]
