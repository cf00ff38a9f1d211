"""Random probes: J v by the plan against `jax.jvp`, at set-up. Host-side.

A pattern that misses an entry makes every evaluation silently wrong, so it is checked once on the actual function: at
the given point and at random points near it, `J v` must equal the directional derivative for a random `v`. A missing
entry then shows up in its row with probability one; it is located by bisection over the columns outside the pattern,
with `log2(n)` further JVPs. Cost: one compilation of the Jacobian and of one JVP, and three evaluations of each.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import eval_jaxpr

from sparsesolve._tree import Structure
from sparsesolve.jacobian._arguments import Arguments
from sparsesolve.jacobian._plan import Plan
from sparsesolve.pattern import SparsityPattern

_SEED = 20240229
_NUM_PROBES = 3


def verify_plan(
    plan: Plan,
    arguments: Arguments,
    inputs: Structure,
    outputs: Structure,
    run: Callable[[Arguments], np.ndarray],
    caller: str,
) -> None:
    """Compares the plan with `jax.jvp` along random directions.

    Args:
        plan: the plan to check.
        arguments: concrete arguments.
        inputs, outputs: structures of unknowns and results.
        run: the CSR data of the plan at concrete arguments.
        caller: for messages.

    Raises:
        ValueError: on disagreement, naming an entry.
    """
    if plan.pattern.shape[0] == 0 or plan.pattern.shape[1] == 0:
        return
    rng = np.random.default_rng(_SEED)
    tolerance = max(float(jnp.finfo(dtype).eps) for dtype in (*inputs.dtypes, *outputs.dtypes)) ** 0.5
    derivative = _directional_derivative(plan, arguments, outputs)
    for probe in range(_NUM_PROBES):
        point = arguments.unknowns if probe == 0 else _near(arguments.unknowns, rng)
        direction = _random(arguments.unknowns, rng)
        data = run(_at(arguments, point))
        row = _worst_row(plan.pattern, data, _flatten(direction), derivative(point, direction), tolerance)
        if row is not None:
            at_point = functools.partial(derivative, point)
            raise ValueError(_explanation(plan.pattern, row, inputs, outputs, at_point, direction, caller))


def _directional_derivative(plan: Plan, arguments: Arguments, outputs: Structure) -> Callable[..., np.ndarray]:
    program = plan.program
    whole = program.piece(program.unknowns, program.outputs)
    parameters, consts = list(arguments.parameters), list(program.consts)

    def push(point: list[Any], direction: list[Any], parameters: list[Any], consts: list[Any]) -> Any:
        boundary = eval_jaxpr(program.parameter_piece(), [], *parameters, *consts)
        along = jax.jvp(lambda *xs: whole(xs, [*boundary, *consts]), tuple(point), tuple(direction))[1]
        return outputs.ravel(along)

    # Compiled ahead of time, so that it runs now even while an outer function is being traced.
    compiled = jax.jit(push).lower(arguments.unknowns, arguments.unknowns, parameters, consts).compile()

    def derivative(point: Sequence[Any], direction: Sequence[Any]) -> np.ndarray:
        return np.asarray(compiled(list(point), list(direction), parameters, consts))

    return derivative


def _worst_row(
    pattern: SparsityPattern, data: np.ndarray, direction: np.ndarray, exact: np.ndarray, tolerance: float
) -> int | None:
    """The row where `J v` and the exact product disagree most, if beyond rounding."""
    with np.errstate(all="ignore"):
        products = data * direction[pattern.indices]
    ours = _row_sums(pattern, products)
    scale = _row_sums(pattern, np.abs(products)) + np.abs(exact)
    # Where a value is not finite, the point lies at the edge of the domain: no verdict there.
    finite = np.isfinite(ours) & np.isfinite(exact) & np.isfinite(scale) & (scale > 0)
    error = np.zeros(exact.shape, np.float64)
    error[finite] = np.abs(ours[finite] - exact[finite]) / scale[finite]
    return int(np.argmax(error)) if error.max(initial=0.0) > tolerance else None


def _explanation(
    pattern: SparsityPattern,
    row: int,
    inputs: Structure,
    outputs: Structure,
    derivative: Callable[[Sequence[Any]], np.ndarray],
    direction: Sequence[Any],
    caller: str,
) -> str:
    """Names the entry that is missing or wrong in the row."""
    stored = pattern.indices[pattern.indptr[row] : pattern.indptr[row + 1]]
    flat = _flatten(direction)
    outside = np.setdiff1d(np.arange(pattern.shape[1]), stored)

    def along(columns: np.ndarray) -> Any:
        masked = np.zeros_like(flat)
        masked[columns] = flat[columns]
        return derivative(_unflatten(masked, inputs))[row]

    where = f"result{outputs.locate(row)}"
    if outside.size and along(outside) != 0:
        column = _bisect(outside, along)
        return (
            f"The sparsity pattern misses the entry (row {row}, column {column}): {where} depends on "
            f"unknown{inputs.locate(column)}. Values of the {caller} would be wrong without an error, so add the "
            "entry, or leave `sparsity` out to have the pattern detected."
        )
    columns = ", ".join(str(int(c)) for c in stored[:6])
    return (
        f"J v and jax.jvp disagree in row {row} ({where}; columns {columns}) although the pattern has all its entries: "
        "the function is not deterministic, not holomorphic, or its derivative rules disagree. Compare jax.jvp with "
        "finite differences, or pass verify=False if this is expected."
    )


def _bisect(columns: np.ndarray, along: Callable[[np.ndarray], Any]) -> int:
    while columns.size > 1:
        half = columns[: columns.size // 2]
        columns = half if along(half) != 0 else columns[columns.size // 2 :]
    return int(columns[0])


def _row_sums(pattern: SparsityPattern, products: np.ndarray) -> np.ndarray:
    sums = np.zeros(pattern.shape[0], products.dtype)
    np.add.at(sums, pattern.rows, products)
    return sums


def _near(leaves: Sequence[Any], rng: np.random.Generator) -> list[Any]:
    """A generic point close to the given one: relative perturbations of 5 %, and 1 % of the leaf's scale."""
    out = []
    for leaf, noise in zip(leaves, _random(leaves, rng), strict=True):
        scale = float(np.max(np.abs(np.asarray(leaf)), initial=0.0)) or 1.0
        out.append((np.asarray(leaf) * (1 + 0.05 * noise) + 0.01 * scale * noise).astype(leaf.dtype))
    return out


def _random(leaves: Sequence[Any], rng: np.random.Generator) -> list[Any]:
    """Directions with entries of modulus between 1/2 and 1: none is too small to be seen."""
    out = []
    for leaf in leaves:
        value = rng.uniform(0.5, 1.0, leaf.shape) * rng.choice([-1.0, 1.0], leaf.shape)
        if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
            value = value * np.exp(2j * np.pi * rng.uniform(size=leaf.shape))
        out.append(value.astype(leaf.dtype))
    return out


def _at(arguments: Arguments, point: Sequence[Any]) -> Arguments:
    return Arguments(list(point), arguments.parameters, arguments.structure, arguments.static)


def _flatten(leaves: Sequence[Any]) -> np.ndarray:
    return np.concatenate([np.ravel(np.asarray(leaf)) for leaf in leaves])


def _unflatten(flat: np.ndarray, structure: Structure) -> list[Any]:
    stops = np.cumsum((0, *structure.sizes))
    return [
        flat[a:b].reshape(shape).astype(dtype)
        for a, b, shape, dtype in zip(stops[:-1], stops[1:], structure.shapes, structure.dtypes, strict=True)
    ]
