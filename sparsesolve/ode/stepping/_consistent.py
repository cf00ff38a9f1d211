"""`consistent_start`: initial values that satisfy the algebraic equations of an index-1 system `M y' = f(t, y)`.

Newton's method with the corrections of `_algebraic.py`. Where the components without derivatives are known from the
pattern of M (no entry in a column), the others are not touched at all. Host-side, for concrete values; cost: one
Jacobian and one factorization an iteration.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from sparsesolve.ode.stepping._algebraic import Algebraic, corrected, correction
from sparsesolve.ode.system._system import StiffSystem, prepare_system

CONSISTENT = "the initial values were consistent"
NOT_FOUND = (
    "found no values that satisfy the equations without derivatives; give a closer guess of the algebraic components, "
    "or the mass matrix of an index-1 system (differentiate constraints of a higher index)."
)
_REPORTED = 5  # components named in the report


def consistent_start(
    f: Callable[[Any, Any, Any], PyTree],
    t0: Any,
    y0: PyTree[Array],
    args: Any = None,
    *,
    mass: Any,
) -> tuple[PyTree[Array], str]:
    """Corrects the algebraic components of initial values of an index-1 system, and says what was changed.

    Args:
        f: right-hand side `f(t, y, args)`.
        t0: start time.
        y0: initial values; those with derivatives are kept, the others are a guess.
        args: third argument of `f`.
        mass: the singular matrix of `M y' = f`, as for `BDF`.

    Returns:
        The corrected values, of the same structure, and a sentence for each of the largest changes, or that there
        were none.

    Raises:
        ValueError: if no consistent values are found near `y0`.

    Example:
        >>> import jax.numpy as jnp, numpy as np
        >>> from sparsesolve.ode import consistent_start
        >>> def f(t, y, args):
        ...     return jnp.stack([-y[0], y[1] - y[0] ** 2])
        >>> y, report = consistent_start(f, 0.0, jnp.array([2.0, 0.0]), mass=np.diag([1.0, 0.0]))
        >>> y
        Array([2., 4.], dtype=float64)
        >>> print(report)
        [1] changed from 0 to 4
    """
    y0 = jax.tree.map(jnp.asarray, y0)
    system = prepare_system(dfx.ODETerm(f), t0, y0, args, mass=mass)
    start = system.structure.ravel(y0)
    t = jnp.asarray(t0, start.dtype)
    assert system.mass is not None
    parts = Algebraic.of(system.mass.matrix(t, start))
    if parts is None:
        return y0, CONSISTENT
    x = solve_algebraic(system, parts, t, start)
    if x is None:
        raise ValueError(f"consistent_start {NOT_FOUND}")
    return system.structure.unravel(x), report_of(system, start, x)


def solve_algebraic(system: StiffSystem, parts: Algebraic, t: Array, start: Array) -> Array | None:
    """The corrected state, or `None`."""
    found, okay = _solve_once(system, parts.equations, parts.kernel, t, start)
    return found if bool(okay) else None


@eqx.filter_jit
def _solve_once(system: StiffSystem, equations: Any, kernel: Any, t: Array, x: Array) -> tuple[Array, Array]:
    return corrected(correction(system, Algebraic(equations, kernel), t), x)


@eqx.filter_jit
def correct_once(system: StiffSystem, equations: Any, kernel: Any, t: Array, x: Array) -> Array:
    """One correction, compiled; the code is kept by the plan of the system."""
    return correction(system, Algebraic(equations, kernel), t)(x)(x)


def report_of(system: StiffSystem, old: Any, new: Any) -> str:
    """What has changed, largest first."""
    old, new = np.asarray(old), np.asarray(new)
    change = np.abs(new - old)
    changed = np.flatnonzero(change > 1e-6 * np.maximum(np.abs(old), 1e-6))
    if changed.size == 0:
        return CONSISTENT
    largest = changed[np.argsort(-change[changed], kind="stable")]
    lines = [
        f"{system.structure.locate(int(i))} changed from {old[i]:.6g} to {new[i]:.6g}" for i in largest[:_REPORTED]
    ]
    more = changed.size - len(lines)
    return "\n".join(lines + ([f"and {more} more components"] if more > 0 else []))
