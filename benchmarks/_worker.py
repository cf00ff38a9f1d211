"""One peer in its own process: reads commands from standard input, answers with a line of JSON each.

`prepare` builds the trial, warms it up and checks its answer, `time` runs it once more, end of input ends the process.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import sys
import time
from typing import Any

from benchmarks._base import Trial


def main(benchmark: str, peer: str, parameters: str) -> None:
    """Serves one peer of one case."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # all peers on the same core
    answers = sys.stdout
    trial: Trial | None = None
    with contextlib.redirect_stdout(sys.stderr):  # whatever a peer prints must not break the protocol
        for line in sys.stdin:
            try:
                if line.strip() == "prepare":
                    trial, answer = _prepare(benchmark, peer, json.loads(parameters))
                else:
                    assert trial is not None
                    answer = {"seconds": _timed(trial)[0]}
            except ImportError as error:
                answer = {"skipped": f"{error.name or error} is not installed; write: pip install {error.name}"}
            except Exception as error:
                answer = {"failed": f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


def _prepare(benchmark: str, peer: str, parameters: dict[str, Any]) -> tuple[Trial, dict[str, Any]]:
    import jax.numpy as jnp

    jnp.zeros(1).block_until_ready()  # the runtime's own memory and start belong to nobody
    table = importlib.import_module(f"benchmarks.{benchmark}").BENCHMARK
    make = table.peers[peer]
    before = _resident_megabytes()
    trial = make(**parameters)
    first, result = _timed(trial)
    error = float(trial.check(result))
    return trial, {
        "first_seconds": first,
        "error": error,
        "tolerance": trial.tolerance,
        "what": trial.what,
        "correct": bool(error <= trial.tolerance),
        "setup_seconds": trial.setup_seconds,
        "compile_seconds": trial.compile_seconds,
        "notes": trial.notes,
        "memory_megabytes": max(0.0, _peak_megabytes() - before),
    }


def _timed(trial: Trial) -> tuple[float, Any]:
    start = time.perf_counter()
    result = trial.run()
    return time.perf_counter() - start, result


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _resident_megabytes() -> float:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main(*sys.argv[1:4])
