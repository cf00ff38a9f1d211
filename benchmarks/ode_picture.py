"""Work-precision diagrams from the results of `python -m benchmarks ode`: `python -m benchmarks.ode_picture`."""

from __future__ import annotations

import argparse
import json
import pathlib

from benchmarks._ode_summary import curves as curves, draw
from benchmarks._report import RESULTS


def main(arguments: list[str] | None = None) -> None:
    """Draws one diagram for each problem into a picture."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ode_picture")
    parser.add_argument("--json", type=pathlib.Path, default=RESULTS / "ode.json", help="results of a run")
    parser.add_argument("--out", type=pathlib.Path, default=RESULTS / "ode.png", help="the picture")
    parser.add_argument("--work", default="seconds", help="seconds, or a count such as steps or jacobians")
    options = parser.parse_args(arguments)
    drawn = draw(json.loads(options.json.read_text())["rows"], options.out, options.work)
    if drawn is None:
        parser.error(f"{options.json} holds no problem at two tolerances; run python -m benchmarks ode")
    print(f"wrote {drawn}")


if __name__ == "__main__":
    main()
