"""Stiff integration: work and precision on the gallery's problems in time, large ones, batches.

Times are of compiled calls; a time counts where the end value has at most three digits less than the relative
tolerance. Each table is a module with `cases(quick)` and `PEERS`; diagrams and comparisons at equal accuracy are made
from the rows (`_ode_summary.py`).
"""

from __future__ import annotations

from benchmarks import _ode_batches, _ode_gradients, _ode_large, _ode_precision
from benchmarks._base import Benchmark, Case
from benchmarks._ode_summary import finish

TABLES = (_ode_large, _ode_batches, _ode_gradients, _ode_precision)


def cases(quick: bool) -> list[Case]:
    """Those of all tables."""
    return [case for table in TABLES for case in table.cases(quick)]


BENCHMARK = Benchmark(
    "ode",
    "stiff integration, compiled: work and precision, batches",
    cases,
    {name: peer for table in TABLES for name, peer in table.PEERS.items()},
    budget=2.0,
    limit=90.0,
    finish=finish,
)
