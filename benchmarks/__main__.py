"""`python -m benchmarks [--quick] [names]`: prints a table per case and writes JSON under benchmarks/results/."""

from __future__ import annotations

import argparse
import importlib

from benchmarks._base import Benchmark
from benchmarks._harness import Pool, run_case
from benchmarks._report import case_table, device, summary_table, write_json

NAMES = (
    "detection",
    "coloring",
    "jacobian",
    "newton",
    "direct",
    "amg",
    "batched",
    "products",
    "overhead",
    "ode",
    "least_squares",
)


def load(name: str) -> Benchmark:
    """The benchmark of a name."""
    return importlib.import_module(f"benchmarks.{name}").BENCHMARK


def main(arguments: list[str] | None = None) -> None:
    """Runs the benchmarks named on the command line, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measures sparsesolve against peers.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"which benchmarks: {', '.join(NAMES)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="small sizes, a few minutes in all")
    parser.add_argument("--case", default="", help="only cases whose name contains this; writes no JSON")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(NAMES))
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(NAMES)}")
    print(f"On {device()}. Ratios compare with the first peer of each table.")
    for name in options.names or NAMES:
        benchmark = load(name)
        print(f"\n== {name}: {benchmark.title}", flush=True)
        rows, pool, path = [], Pool(benchmark), None
        for case in benchmark.cases(options.quick):
            if options.case in case.name:
                print(f"\n{case.name}", flush=True)
                rows += (found := run_case(benchmark, case, pool=pool))
                print(case_table(found, benchmark.measured), flush=True)
                if not options.case:  # after every case: a run that is cut off keeps what it has
                    path = write_json(name, benchmark.title, options.quick, rows)
        pool.close()
        if len({row["case"] for row in rows}) > 3:
            print(f"\nall cases, {benchmark.measured}\n{summary_table(rows)}", flush=True)
        if path is not None:
            print(f"\nwrote {path}")
        if benchmark.finish is not None:
            print(f"\n{benchmark.finish(rows, path)}", flush=True)


if __name__ == "__main__":
    main()
