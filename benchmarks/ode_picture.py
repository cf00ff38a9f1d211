"""Work-precision diagrams from the results of `python -m benchmarks ode`: `python -m benchmarks.ode_picture`."""

from __future__ import annotations

import argparse
import json
import pathlib
from typing import Any

from benchmarks._report import RESULTS
from sparsesolve import report


def curves(rows: list[dict[str, Any]]) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Problem, then peer, to pairs of error and seconds; only what was timed, at two tolerances at least."""
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row in rows:
        problem, _, tolerance = row["case"].partition(", rtol ")
        if tolerance and " x " not in problem and row.get("seconds"):
            found.setdefault(problem, {}).setdefault(row["peer"], []).append((row["error"], row["seconds"]))
    return {problem: peers for problem, peers in found.items() if max(len(points) for points in peers.values()) > 1}


def main(arguments: list[str] | None = None) -> None:
    """Draws one diagram for each problem into a picture."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ode_picture")
    parser.add_argument("--json", type=pathlib.Path, default=RESULTS / "ode.json", help="results of a run")
    parser.add_argument("--out", type=pathlib.Path, default=RESULTS / "ode.png", help="the picture")
    options = parser.parse_args(arguments)
    problems = curves(json.loads(options.json.read_text())["rows"])
    if not problems:
        parser.error(f"{options.json} holds no problem at two tolerances; run python -m benchmarks ode")
    columns = min(3, len(problems))
    figure, axes = report.new_figure(-(-len(problems) // columns), columns)
    for ax, (problem, peers) in zip(axes.ravel(), problems.items(), strict=False):
        report.plot_work_precision(peers, title=problem, ax=ax)
    for ax in axes.ravel()[len(problems) :]:
        ax.set_visible(False)
    print(f"wrote {report.save_figure(figure, options.out)}")


if __name__ == "__main__":
    main()
