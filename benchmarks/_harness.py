"""Runs a case: one single-threaded process per peer, timed calls in turn, medians.

Peers share one core, one at a time, and take turns call by call: whatever else the machine does falls on all of them
alike. A peer is timed at most `ROUNDS` times and for about the benchmark's budget in seconds; where the first call
takes half of that, it is the only one. One that does not answer within `LIMIT` seconds is given up. All processes are
forked from one that has imported the packages and done nothing else, so a process costs milliseconds.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import multiprocessing.forkserver
import os
import pathlib
import statistics
from collections.abc import Iterator
from typing import Any

from benchmarks._base import Benchmark, Case
from benchmarks._worker import serve

ROUNDS = 9
LIMIT = 120.0
ROOT = pathlib.Path(__file__).resolve().parents[1]

_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "SPARSESOLVE_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "JAX_ENABLE_X64": "1",
    "PYTHONWARNINGS": "ignore",  # JAX warns of every fork; these happen before it starts a thread
}
_PRELOAD = ["benchmarks._worker", "jax", "jax.numpy", "numpy", "scipy.sparse.linalg", "sparsesolve"]


class Worker:
    """A peer's process."""

    def __init__(self, benchmark: Benchmark, peer: str, case: Case):
        self.connection, theirs = _context().Pipe()
        arguments = (theirs, benchmark.name, peer, case.parameters, benchmark.cores.get(peer, 1))
        self.process = _context().Process(target=serve, args=arguments, daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, command: str) -> dict[str, Any]:
        """Sends a command and waits for its answer."""
        with contextlib.suppress(BrokenPipeError):
            self.connection.send(command)
        try:
            if self.connection.poll(LIMIT):
                return self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            return {"failed": f"the process ended with status {self.process.exitcode}"}
        self.process.kill()
        return {"failed": f"no answer within {LIMIT:g} s, given up"}

    def close(self) -> None:
        """Ends the process."""
        self.connection.close()
        self.process.join(10)
        self.process.kill()


def run_case(
    benchmark: Benchmark, case: Case, rounds: int = ROUNDS, budget: float | None = None
) -> list[dict[str, Any]]:
    """A row for every peer of the case; `seconds` only for those whose answer passed its check."""
    limit = benchmark.budget if budget is None else budget
    workers = {peer: Worker(benchmark, peer, case) for peer in case.peers}
    samples: dict[str, list[dict[str, float]]] = {}
    try:
        rows = {peer: {"case": case.name, "peer": peer, **worker.ask("prepare")} for peer, worker in workers.items()}
        for peer, row in rows.items():
            first = row.pop("first", {})
            if row.get("correct"):
                samples[peer] = [first] if sum(first.values()) > limit / 2 else []
            else:
                workers[peer].close()
        timed = {peer for peer, taken in samples.items() if not taken}
        for _ in range(rounds):
            for peer in sorted(timed, key=case.peers.index):
                answer = workers[peer].ask("time")
                if "failed" in answer:
                    rows[peer].update(answer)
                    timed.discard(peer)
                    del samples[peer]
                    continue
                samples[peer].append(answer)
                spent = sum(sum(sample.values()) for sample in samples[peer])
                if spent + spent / len(samples[peer]) > limit:
                    timed.discard(peer)
    finally:
        for worker in workers.values():
            worker.close()
    for peer, taken in samples.items():
        medians = {key: statistics.median(sample[key] for sample in taken) for key in taken[0]}
        rows[peer].update(seconds=medians.pop("run"), parts=medians, runs=len(taken))
    return list(rows.values())


@functools.cache
def _context() -> Any:
    """The server that processes are forked from; it lives as long as this process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    with _environment():
        multiprocessing.forkserver.ensure_running()
    return context


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    before, folder = dict(os.environ), os.getcwd()
    os.environ.update(_ENVIRONMENT)
    os.chdir(ROOT)
    try:
        yield
    finally:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(before)
