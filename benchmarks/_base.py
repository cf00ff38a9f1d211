"""What a benchmark is made of: cases, and for each peer a function that prepares a trial."""

from __future__ import annotations

import dataclasses
import pathlib
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
        group: cases with the same one, if any, are run by the same processes, so that what a peer caches (compiled
            code) is there for the next; a peer that was given up in a group is not asked again there.
    """

    name: str
    parameters: dict[str, Any]
    peers: tuple[str, ...]
    group: str = ""


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
        share: where `run` does only a part of the work, how many times that makes the whole; times are multiplied by
            it, and the notes say so.
    """

    run: Callable[[], Any]
    check: Callable[[Any], float]
    tolerance: float
    what: str
    setup_seconds: float | None = None
    compile_seconds: float | None = None
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)
    parts: dict[str, Callable[[], Any]] = dataclasses.field(default_factory=dict)
    share: float = 1.0


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
        limit: seconds after which a peer that has not answered is given up.
        finish: gets all rows and the path of their JSON (`None` if there is none); draws pictures and returns text to
            print below the tables.
    """

    name: str
    title: str
    cases: Callable[[bool], list[Case]]
    peers: dict[str, Callable[..., Trial]]
    measured: str = "time"
    budget: float = 20.0
    cores: dict[str, int] = dataclasses.field(default_factory=dict)
    limit: float = 120.0
    finish: Callable[[list[dict[str, Any]], pathlib.Path | None], str] | None = None
