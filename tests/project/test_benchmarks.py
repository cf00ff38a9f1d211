"""The benchmarks' machinery at tiny sizes: peers agree, wrong answers are not timed, absent peers are named."""

import json

import numpy as np
import pytest

from benchmarks import coloring, detection, jacobian, newton
from benchmarks.__main__ import NAMES, load, main
from benchmarks._base import Case
from benchmarks._harness import run_case
from benchmarks._newton_peers import splu, splu_gradient
from benchmarks._problems import build, missing_entries, reference_pattern
from benchmarks._report import case_table, duration, write_json


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
