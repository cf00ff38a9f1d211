"""Runs a case: one single-threaded process per peer, timed calls in turn, medians.

Peers share one core, one at a time, and take turns call by call: whatever else the machine does falls on all of them
alike. A peer is timed at most `ROUNDS` times and for about the benchmark's budget in seconds; where the first call
takes half of that, it is the only one. One that does not answer within the benchmark's limit is given up. Cases of a
group share their processes (a `Pool`). All processes are forked from one that has imported the packages and done
nothing else, so a process costs milliseconds.
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

    def __init__(self, benchmark: Benchmark, peer: str):
        self.limit, self.given_up = benchmark.limit, False
        self.connection, theirs = _context().Pipe()
        arguments = (theirs, benchmark.name, peer, benchmark.cores.get(peer, 1))
        self.process = _context().Process(target=serve, args=arguments, daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, command: str | dict[str, Any]) -> dict[str, Any]:
        """Sends a command, or a case's parameters, and waits for the answer."""
        if self.given_up:
            return {"failed": "given up in an earlier case of these"}
        with contextlib.suppress(BrokenPipeError):
            self.connection.send(command)
        try:
            if self.connection.poll(self.limit):
                return self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            self.given_up = True
            return {"failed": f"the process ended with status {self.process.exitcode}"}
        self.process.kill()
        self.given_up = True
        return {"failed": f"no answer within {self.limit:g} s, given up"}

    def close(self) -> None:
        """Ends the process."""
        self.connection.close()
        self.process.join(10)
        self.process.kill()


class Pool:
    """The processes of one group of cases at a time."""

    def __init__(self, benchmark: Benchmark):
        self.benchmark, self.group = benchmark, ""
        self.workers: dict[str, Worker] = {}

    def of(self, case: Case) -> dict[str, Worker]:
        """A process for every peer of the case; those of another group are ended."""
        if not case.group or case.group != self.group:
            self.close()
        self.group = case.group
        for peer in case.peers:
            if peer not in self.workers:
                self.workers[peer] = Worker(self.benchmark, peer)
        return {peer: self.workers[peer] for peer in case.peers}

    def close(self) -> None:
        """Ends them."""
        for worker in self.workers.values():
            worker.close()
        self.workers = {}


def run_case(
    benchmark: Benchmark,
    case: Case,
    rounds: int = ROUNDS,
    budget: float | None = None,
    pool: Pool | None = None,
) -> list[dict[str, Any]]:
    """A row for every peer of the case; `seconds` only for those whose answer passed its check."""
    limit = benchmark.budget if budget is None else budget
    own = Pool(benchmark) if pool is None else pool
    workers = own.of(case)
    samples: dict[str, list[dict[str, float]]] = {}
    try:
        answers = {peer: worker.ask(case.parameters) for peer, worker in workers.items()}
        rows = {peer: {"case": case.name, "peer": peer, **answer} for peer, answer in answers.items()}
        for peer, row in rows.items():
            first = row.pop("first", {})
            if row.get("correct"):
                samples[peer] = [first] if sum(first.values()) > limit / 2 else []
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
        if pool is None or not case.group:
            own.close()
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
