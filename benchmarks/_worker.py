"""One peer in its own process: reads commands from a pipe and answers each with a dict.

The parameters of a case build its trial, warm it up and check its answer; `time` runs it once more, a closed pipe ends
the process.
"""

from __future__ import annotations

import importlib
import os
import resource
import time
from collections.abc import Callable
from typing import Any

from benchmarks._base import SkipError, Trial

SHORT = 0.01
"""A call that takes less than this many seconds is repeated for about as long, and the mean counts."""


def serve(connection: Any, benchmark: str, peer: str, cores: int) -> None:
    """Serves one peer of one case, or of several one after the other."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    _use_cores(cores)
    trial: Trial | None = None
    while True:
        try:
            command = connection.recv()
        except EOFError:
            return
        try:
            if isinstance(command, dict):
                trial, answer = _prepare(benchmark, peer, command)
            else:
                assert trial is not None
                answer = _timed(trial)[0]
        except SkipError as error:
            answer = {"skipped": str(error)}
        except ImportError as error:
            answer = {"skipped": f"{error.name or error} is not installed; write: pip install {error.name}"}
        except Exception as error:
            answer = {"failed": f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"}
        connection.send(answer)


def _use_cores(cores: int) -> None:
    """Pins this process: every peer with one core to the same one."""
    if hasattr(os, "sched_setaffinity"):
        available = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, set(available[-cores:]))
    if cores > 1:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "SPARSESOLVE_NUM_THREADS"):
            os.environ[name] = str(cores)
        os.environ["XLA_FLAGS"] = ""


def _prepare(benchmark: str, peer: str, parameters: dict[str, Any]) -> tuple[Trial, dict[str, Any]]:
    import jax.numpy as jnp

    jnp.zeros(1).block_until_ready()  # the runtime's own memory and start belong to nobody
    table = importlib.import_module(f"benchmarks.{benchmark}").BENCHMARK
    make = table.peers[peer]
    before = _resident_megabytes()
    trial = make(**parameters)
    first, result = _timed(trial, short=0.0)
    error = float(trial.check(result))
    return trial, {
        "first": first,
        "error": error,
        "tolerance": trial.tolerance,
        "what": trial.what,
        "correct": bool(error <= trial.tolerance),
        "setup_seconds": trial.setup_seconds,
        "compile_seconds": trial.compile_seconds,
        "notes": trial.notes,
        "memory_megabytes": max(0.0, _peak_megabytes() - before),
    }


def _timed(trial: Trial, short: float = SHORT) -> tuple[dict[str, float], Any]:
    """Seconds of `run` and of each part, and what `run` returned."""
    seconds, result = _seconds(trial.run, short)
    return {
        "run": trial.share * seconds,
        **{name: _seconds(call, short)[0] for name, call in trial.parts.items()},
    }, result


def _seconds(call: Callable[[], Any], short: float) -> tuple[float, Any]:
    start = time.perf_counter()
    result = call()
    seconds = time.perf_counter() - start
    if seconds >= short:
        return seconds, result
    repeat = max(1, min(10_000, int(short / max(seconds, 1e-7))))
    start = time.perf_counter()
    for _ in range(repeat):
        call()
    return (time.perf_counter() - start) / repeat, result


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _resident_megabytes() -> float:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
