"""What the rows of the benchmark `ode` say together: work at equal accuracy, and work-precision diagrams.

The work of a peer at an error is read off the line through its points, logarithms on both axes, never beyond them.
"""

from __future__ import annotations

import importlib.util
import pathlib
from typing import Any

import numpy as np

from sparsesolve import report

STOCK = "diffrax Kvaerno5"
Points = list[tuple[float, float]]


def curves(rows: list[dict[str, Any]], work: str = "seconds") -> dict[str, dict[str, Points]]:
    """Problem, then peer, to pairs of error and work; only what was timed, at two tolerances at least.

    Args:
        rows: of the benchmark.
        work: `"seconds"`, or the name of a note such as `"steps"`.
    """
    found: dict[str, dict[str, Points]] = {}
    for row in rows:
        problem, _, tolerance = row["case"].partition(", rtol ")
        amount = row.get("seconds") if work == "seconds" else row.get("notes", {}).get(work)
        if tolerance and " x " not in problem and row.get("seconds") and amount:
            found.setdefault(problem, {}).setdefault(row["peer"], []).append((row["error"], amount))
    return {problem: peers for problem, peers in found.items() if max(len(points) for points in peers.values()) > 1}


def at_error(points: Points, error: float) -> float | None:
    """Work at an error; `None` outside of the errors reached."""
    pairs = sorted(points)
    errors, amounts = np.log([e for e, _ in pairs]), np.log([w for _, w in pairs])
    if not errors[0] <= np.log(error) <= errors[-1]:
        return None
    return float(np.exp(np.interp(np.log(error), errors, amounts)))


def equal_accuracy(rows: list[dict[str, Any]], work: str, reference: str = STOCK) -> str:
    """How many times the work of each peer the reference takes, at errors that both reach; least and most."""
    lines = []
    problems = {name: peers for name, peers in curves(rows, work).items() if reference in peers}
    peers = list(dict.fromkeys(peer for table in problems.values() for peer in table if peer != reference))
    for name, table in problems.items():
        cells = []
        for peer in peers:
            both = [
                theirs / mine
                for error in sorted({e for e, _ in table.get(peer, []) + table[reference]})
                if (mine := at_error(table[peer], error) if peer in table else None)
                and (theirs := at_error(table[reference], error))
            ]
            cells.append(f"{min(both):.1f} to {max(both):.1f}" if both else "")
        lines.append([name, *cells])
    return report.text_table([f"{work} of {reference} / of", *peers], lines) if lines else ""


def draw(rows: list[dict[str, Any]], path: pathlib.Path, work: str = "seconds") -> pathlib.Path | None:
    """A picture with a diagram for each problem; `None` if there is nothing to draw."""
    problems = curves(rows, work)
    if not problems:
        return None
    columns = min(3, len(problems))
    figure, axes = report.new_figure(-(-len(problems) // columns), columns)
    names = list(dict.fromkeys(peer for peers in problems.values() for peer in peers))
    for ax, (problem, peers) in zip(axes.ravel(), problems.items(), strict=False):
        report.plot_work_precision(peers, work=work, title=problem, names=names, legend=False, ax=ax)
    for ax in axes.ravel()[len(problems) :]:
        ax.set_visible(False)
    lines = {line.get_label(): line for ax in axes.ravel() for line in ax.lines}
    figure.legend(
        [lines[name] for name in names], names, loc="outside lower center", ncols=6, fontsize=9, frameon=False
    )
    return pathlib.Path(report.save_figure(figure, path))


def finish(rows: list[dict[str, Any]], path: pathlib.Path | None) -> str:
    """Tables at equal accuracy and, beside the JSON, the pictures."""
    parts = [table for work in ("seconds", "steps") if (table := equal_accuracy(rows, work))]
    if path is not None and importlib.util.find_spec("matplotlib") is not None:
        names = {"seconds": path.with_suffix(".png"), "steps": path.with_name(f"{path.stem}_steps.png")}
        parts += [f"wrote {drawn}" for work, name in names.items() if (drawn := draw(rows, name, work))]
    return "\n\n".join(parts)
