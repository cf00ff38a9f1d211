"""The demonstration: `python -m sparsesolve [--n N] [--out DIR]`.

Says what it runs on, solves a steady PDE from its plain JAX residual with a line of figures, and draws it. It is an
application, so it may compute in 64 bit; the package itself never changes JAX's configuration.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import pathlib
import platform
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import sparsesolve as ss
from sparsesolve import _native, gallery, report
from sparsesolve.nonlinear import RESULTS
from sparsesolve.report._figure import HOW_TO_GET


def main(arguments: list[str] | None = None) -> None:
    """Runs the demonstration."""
    parser = argparse.ArgumentParser(prog="python -m sparsesolve", description="Demonstrates sparsesolve.")
    parser.add_argument("--n", type=int, default=256, help="grid points a side (default: %(default)s)")
    parser.add_argument(
        "--out", type=pathlib.Path, default=None, help="folder for pictures (default: none are written)"
    )
    options = parser.parse_args(arguments)
    if options.n < 4:
        parser.error(f"--n {options.n} is too small a grid to show anything; write --n 4 or more")
    with jax.enable_x64(True):
        _say(_environment())
        value, pattern = bratu(options.n)
        if options.out is None:
            _say(["Pictures: add --out DIR."])
        elif importlib.util.find_spec("matplotlib") is None:
            _say([f"Pictures need matplotlib; write: {HOW_TO_GET}"])
        else:
            _say([f"Picture: {path}" for path in draw_bratu(options.n, value, pattern, options.out)])


def bratu(n: int) -> tuple[np.ndarray, ss.SparsityPattern]:
    """Solves 2-D Bratu on `n` by `n` points, prints its figures, and returns the solution and the pattern."""
    problem = gallery.bratu_2d(n)
    _say([f"2-D Bratu on {n} x {n} points: {problem.description}"])

    def solve(y0: Any, args: Any) -> Any:
        solution = ss.root_find(problem.residual, ss.Newton(), y0, args, throw=False)
        return solution.value, solution.result, solution.stats

    (value, result, stats), seconds = _timed_stages(solve, problem.y0, problem.args)
    if message := RESULTS[result]:
        raise SystemExit(f"The solve failed: {message}")
    pattern = ss.detect_sparsity(problem.residual, problem.y0, problem.args)
    residual = float(jnp.linalg.norm(problem.residual(value, problem.args)))
    figures = [
        f"{problem.num_unknowns:,} unknowns",
        f"nnz {int(stats['nnz']):,}",
        _counted(int(stats["num_colors"]), "colour") + f" ({ss.color(pattern).num_colors} without peeling)",
        _counted(int(stats["num_steps"]), "step"),
        f"residual {residual:.1e}",
        f"max(u) {float(jnp.max(value)):.6f}, off by {problem.error(value):.1e}",
    ]
    times = [f"{name} {duration:.2f} s" for name, duration in seconds.items()]
    _say(["  " + " | ".join(figures), "  " + " | ".join(times)])
    return np.asarray(value), pattern


def draw_bratu(n: int, value: np.ndarray, pattern: ss.SparsityPattern, out: pathlib.Path) -> list[pathlib.Path]:
    """Writes a picture of the solution and one of the Jacobian's pattern."""
    figure, axes = report.new_figure()
    title = f"2-D Bratu, {n} x {n}"
    report.plot_field(value, gallery.bratu_2d(n).points, title=title, cmap="magma", contours=8, ax=axes[0, 0])
    solution = report.save_figure(figure, out / "bratu_solution.png")
    figure, axes = report.new_figure(1, 3)
    coloring, size = ss.color(pattern), pattern.shape[0]
    report.spy(pattern, ax=axes[0, 0])
    corner = min(size, n + max(24, n // 4))  # as far as the outer diagonals
    report.spy(pattern, window=(0, corner), title=f"the first {corner} rows", ax=axes[0, 1])
    close = min(size, 24)
    title = f"the first {close}: {_counted(coloring.num_colors, 'colour')}"
    report.spy(pattern, coloring=coloring, window=(0, close), title=title, ax=axes[0, 2])
    return [solution, report.save_figure(figure, out / "bratu_jacobian.png")]


def _environment() -> list[str]:
    names = ("jax", "jaxlib", "numpy", "scipy", "lineax", "optimistix", "diffrax")
    versions = "  ".join(f"{name} {_version(name)}" for name in names)
    devices = ", ".join(f"{device.platform} ({device.device_kind})" for device in jax.devices())
    return [
        f"sparsesolve {_version('sparsesolve')} on Python {platform.python_version()}",
        f"  versions   {versions}",
        f"  devices    {devices}",
        f"  back ends  plain JAX: active (cpu, gpu); {_native.status()}",
    ]


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def _timed_stages(function: Callable[..., Any], *args: Any) -> tuple[Any, dict[str, float]]:
    """The result of `jit(function)(*args)` and the seconds of each stage: plan and trace, compile, run."""
    marks = [time.perf_counter()]
    traced = jax.jit(function).trace(*args)
    marks.append(time.perf_counter())
    compiled = traced.lower().compile()
    marks.append(time.perf_counter())
    result = jax.block_until_ready(compiled(*args))
    marks.append(time.perf_counter())
    return result, dict(zip(("set-up", "compile", "run"), np.diff(marks).tolist(), strict=True))


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


def _say(lines: list[str]) -> None:
    for line in lines:
        print(line, flush=True)


if __name__ == "__main__":
    main()
