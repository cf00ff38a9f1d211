"""Runs a case: one single-threaded process per peer, timed calls in turn, medians.

Peers share one core, one at a time, and take turns call by call: whatever else the machine does falls on all of them
alike. A peer is timed at most `ROUNDS` times and for about `BUDGET` seconds; one that does not answer within `LIMIT`
seconds is given up.
"""

from __future__ import annotations

import json
import os
import pathlib
import select
import statistics
import subprocess
import sys
from typing import Any

from benchmarks._base import Benchmark, Case

ROUNDS = 9
BUDGET = 20.0
LIMIT = 300.0
ROOT = pathlib.Path(__file__).resolve().parents[1]

_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "JAX_ENABLE_X64": "1",
}


class Worker:
    """A peer's process."""

    def __init__(self, benchmark: str, peer: str, case: Case):
        command = [sys.executable, "-m", "benchmarks._worker", benchmark, peer, json.dumps(case.parameters)]
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **_ENVIRONMENT},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, command: str) -> dict[str, Any]:
        """Sends a command and waits for its answer."""
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return {"failed": f"the process ended with status {self.process.wait()}"}
        if not select.select([self.process.stdout], [], [], LIMIT)[0]:
            self.process.kill()
            return {"failed": f"no answer within {LIMIT:g} s, given up"}
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"failed": f"the process ended with status {self.process.wait()}"}

    def close(self) -> None:
        """Ends the process."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def run_case(benchmark: Benchmark, case: Case, rounds: int = ROUNDS, budget: float = BUDGET) -> list[dict[str, Any]]:
    """A row for every peer of the case; `seconds` only for those whose answer passed its check."""
    workers = {peer: Worker(benchmark.name, peer, case) for peer in case.peers}
    try:
        rows = {peer: {"case": case.name, "peer": peer, **worker.ask("prepare")} for peer, worker in workers.items()}
        times: dict[str, list[float]] = {peer: [] for peer, row in rows.items() if row.get("correct")}
        for _ in range(rounds):
            for peer in list(times):
                expected = statistics.median(times[peer] or [rows[peer]["first_seconds"]])
                if not times[peer] or sum(times[peer]) + expected <= budget:
                    answer = workers[peer].ask("time")
                    if "seconds" in answer:
                        times[peer].append(answer["seconds"])
                    else:
                        rows[peer].update(answer)
                        del times[peer]
    finally:
        for worker in workers.values():
            worker.close()
    for peer, seconds in times.items():
        rows[peer].update(seconds=statistics.median(seconds), runs=len(seconds))
    return list(rows.values())
