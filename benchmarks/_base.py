"""What a benchmark is made of: cases, and for each peer a function that prepares a trial."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any


class SkipError(Exception):
    """A peer or a case that cannot run here; the message says why."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One problem at one size, and who competes on it.

    Attributes:
        name: as printed.
        parameters: keyword arguments of the peers' functions; JSON.
        peers: names of the peers, the first is the one that ratios refer to.
    """

    name: str
    parameters: dict[str, Any]
    peers: tuple[str, ...]


@dataclasses.dataclass
class Trial:
    """A prepared measurement, inside a worker.

    Attributes:
        run: the timed call; returns when all its work is done.
        check: takes the result of `run`; an error figure that must not exceed `tolerance` for the time to count.
        tolerance: see `check`.
        what: what the error figure is, e.g. `"relative residual"`.
        setup_seconds: host-side preparation, not part of the timing.
        compile_seconds: compilation, not part of the timing.
        notes: counts worth printing: colours, steps, entries.
        parts: further timed calls, each a column of its own.
    """

    run: Callable[[], Any]
    check: Callable[[Any], float]
    tolerance: float
    what: str
    setup_seconds: float | None = None
    compile_seconds: float | None = None
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)
    parts: dict[str, Callable[[], Any]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """A set of cases and the peers that know how to run them.

    Attributes:
        name: as on the command line.
        title: one line about what is measured.
        cases: `cases(quick)`, the table of cases.
        peers: name to a function that takes a case's parameters and prepares a `Trial`. It imports what it needs: an
            `ImportError` skips the peer.
        measured: what `Trial.run` is, the name of its column.
        budget: about how many seconds a peer is timed in each case.
        cores: of the peers that may use more than one.
    """

    name: str
    title: str
    cases: Callable[[bool], list[Case]]
    peers: dict[str, Callable[..., Trial]]
    measured: str = "time"
    budget: float = 20.0
    cores: dict[str, int] = dataclasses.field(default_factory=dict)
