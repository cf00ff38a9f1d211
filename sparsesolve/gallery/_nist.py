"""Nonlinear regression problems with certified answers: the NIST Statistical Reference Datasets (StRD).

    min_b  sum_i (y_i - model(x_i, b))^2

Each set has two starts, one far and one near, certified parameters and standard errors to 11 digits (computed in 128
bits) and the certified sum of squares. `nist` has ten small sets transcribed, `read_nist` reads any published file.

Reference: NIST/ITL, Statistical Reference Datasets, https://www.itl.nist.gov/div898/strd/, doi:10.18434/T43G6C (public
domain); B. D. McCullough, Am. Stat. 52 (1998) 358-366, doi:10.1080/00031305.1998.10480597 (correct digits as measure).
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from sparsesolve.gallery._fit_problem import FitProblem
from sparsesolve.gallery._nist_data import NIST_DATA
from sparsesolve.gallery._nist_models import NIST_MODELS

NIST_SETS = tuple(NIST_DATA)
"""Names of the sets that are transcribed."""

_PARAMETER = re.compile(r"^\s*b\d+\s*=((?:\s+[-+.\dEe]+){4})\s*$")


@dataclasses.dataclass(frozen=True)
class _Residual:
    """`model(x, *b) - y`. Equal for equal models, so that one plan serves both starts."""

    model: Callable[..., Any]

    def __call__(self, b: Any, args: dict[str, Any]) -> Any:
        return self.model(args["x"], *b) - args["y"]


def nist(name: str, start: int = 1) -> FitProblem:
    """A transcribed NIST StRD problem.

    Args:
        name: one of `NIST_SETS`.
        start: 1, the far one, or 2, the near one.

    Returns:
        A `FitProblem` whose `error` is the largest relative error of a parameter.

    Raises:
        ValueError: there is no such set among the transcribed ones.

    Example:
        >>> from sparsesolve import gallery
        >>> gallery.nist("Misra1a")
        FitProblem(Misra1a, start 1, 2 parameters: NIST StRD, 14 observations)
    """
    if name not in NIST_DATA:
        raise ValueError(
            f"nist got name={name!r}; transcribed are {', '.join(NIST_SETS)}. For another one, download its .dat file "
            "from https://www.itl.nist.gov/div898/strd/ and write read_nist(path)."
        )
    data = NIST_DATA[name]
    observations = np.array(data["observations"])
    return _problem(name, start, data["starts"], data["certified"], data["cost"], observations)


def read_nist(path: Any, start: int = 1) -> FitProblem:
    """A NIST StRD nonlinear regression problem from its published `.dat` file.

    Args:
        path: of the file.
        start: 1, the far one, or 2, the near one.

    Returns:
        A `FitProblem` whose `error` is the largest relative error of a parameter.

    Raises:
        ValueError: the file is not one of the 27 sets.
    """
    with open(path, encoding="ascii") as file:
        text = file.read()
    found = re.search(r"Dataset Name:\s+(\w+)", text)
    name = found.group(1) if found else ""
    if name not in NIST_MODELS:
        raise ValueError(
            f"read_nist found {name or 'no data set name'} in {path}; it reads the 27 nonlinear regression sets of "
            "NIST StRD, as published."
        )
    table = np.array([m.group(1).split() for m in map(_PARAMETER.match, text.splitlines()) if m], dtype=float)
    cost = re.search(r"Residual Sum of Squares:\s+(\S+)", text)
    if not len(table) or cost is None:
        raise ValueError(f"read_nist found neither parameters nor a certified sum of squares in {path}; is it whole?")
    rows = text[text.rindex("Data:") :].splitlines()[1:]
    observations = np.array([row.split() for row in rows if row.strip()], dtype=float)
    return _problem(name, start, table[:, :2].T, table[:, 2:].T, float(cost.group(1)), observations)


def _problem(name: str, start: int, starts: Any, certified: Any, cost: float, observations: np.ndarray) -> FitProblem:
    if start not in (1, 2):
        raise ValueError(f"{name} got start={start!r}; each set has two, write start=1 or start=2.")
    values, errors = (np.asarray(row) for row in certified)
    y, x = observations[:, 0], observations[:, 1:].T
    y = np.log(y) if name == "Nelson" else y
    x = x[0] if len(x) == 1 else x
    model = NIST_MODELS[name]
    return FitProblem(
        name=f"{name}, start {start}",
        residual=_Residual(model),
        y0=jnp.asarray(starts[start - 1], float),
        args={"x": jnp.asarray(x), "y": jnp.asarray(y)},
        error=lambda b: largest_relative_error(b, values),
        description=f"NIST StRD, {len(y)} observations",
        source="NIST/ITL Statistical Reference Datasets, certified values; largest relative error of a parameter",
        cost=cost,
        solution=values,
        standard_errors=errors,
        model=model,
    )


def largest_relative_error(estimates: Any, certified: Any) -> float:
    """The largest `|b - c| / |c|`, infinite where an estimate is not finite. Its -log10 counts correct digits."""
    difference = np.abs(np.asarray(estimates) - np.asarray(certified)) / np.abs(np.asarray(certified))
    largest = float(np.max(difference))
    return largest if math.isfinite(largest) else math.inf
