"""`consistent_start`: initial values that satisfy the algebraic equations of an index-1 system `M y' = f(t, y)`.

Linearly implicit Euler steps of vanishing length e,

    (M - e J) d = e f(t_0, y),        y <- y + d,

are Newton steps on the equations without derivatives (rows of the left kernel of M) and move what has a derivative by
no more than e y'. Where those components are known from the pattern of M (no entry in a column), the others are not
touched at all. Host-side, for concrete values; cost: one Jacobian and one factorization an iteration.

Reference: P. N. Brown, A. C. Hindmarsh, L. R. Petzold, "Consistent initial condition calculation for
differential-algebraic systems", SIAM J. Sci. Comput. 19 (1998) 1495, doi:10.1137/S1064827595289996.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from sparsesolve.ode.system._system import StiffSystem, prepare_system

_MOST = 30
_REPORTED = 5  # components named in the report


def consistent_start(
    f: Callable[[Any, Any, Any], PyTree],
    t0: Any,
    y0: PyTree[Array],
    args: Any = None,
    *,
    mass: Any,
    interval: float = 1.0,
) -> tuple[PyTree[Array], str]:
    """Corrects the algebraic components of initial values of an index-1 system, and says what was changed.

    Args:
        f: right-hand side `f(t, y, args)`.
        t0: start time.
        y0: initial values; those with derivatives are kept, the others are a guess.
        args: third argument of `f`.
        mass: the singular matrix of `M y' = f`, as for `BDF`.
        interval: a typical time, against which steps vanish.

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
    free, algebraic = _free_components(system, t, start)
    e = float(jnp.finfo(system.dtype).eps) ** 0.5 * interval
    step = jax.jit(lambda x: jnp.where(free, _euler(system, t, x, e, algebraic), 0.0))
    x, size = start, np.inf
    for _ in range(_MOST):
        change = step(x)
        last, size = size, float(jnp.max(jnp.abs(change) / (1.0 + jnp.abs(x))))
        if not np.isfinite(size):
            break
        x = x + change
        if size < 1e-12 or (size < 1e-6 and size > 0.5 * last):
            return system.structure.unravel(x), _report(system, np.asarray(start), np.asarray(x))
    raise ValueError(
        "consistent_start found no values that satisfy the equations without derivatives; give a closer guess of the "
        "algebraic components, or the mass matrix of an index-1 system (differentiate constraints of a higher index)."
    )


def _euler(system: StiffSystem, t: Array, x: Array, e: float, algebraic: Array) -> Array:
    factors = system.factor(system.matrix(system.jacobian(t, x), 1.0, -e, t, x))
    return system.solve(factors, jnp.where(algebraic, e * system.rhs(t, x), 0.0))[0]


def _free_components(system: StiffSystem, t: Array, x: Array) -> tuple[Array, Array]:
    """Components whose derivative does not appear and equations without derivatives, if there are as many; else all."""
    assert system.mass is not None
    matrix = system.mass.matrix(t, x)
    there = np.asarray(matrix.data) != 0
    rows, columns = np.zeros(system.size, bool), np.zeros(system.size, bool)
    rows[matrix.pattern.rows[there]] = True
    columns[matrix.pattern.indices[there]] = True
    semi_explicit = (~rows).sum() == (~columns).sum() > 0
    everything = np.ones(system.size, bool)
    if not semi_explicit:
        return jnp.asarray(everything), jnp.asarray(everything)
    return jnp.asarray(~columns), jnp.asarray(~rows)


def _report(system: StiffSystem, old: np.ndarray, new: np.ndarray) -> str:
    change = np.abs(new - old)
    changed = np.flatnonzero(change > 1e-6 * np.maximum(np.abs(old), 1e-6))
    if changed.size == 0:
        return "the initial values were consistent"
    largest = changed[np.argsort(-change[changed], kind="stable")]
    lines = [
        f"{system.structure.locate(int(i))} changed from {old[i]:.6g} to {new[i]:.6g}" for i in largest[:_REPORTED]
    ]
    more = changed.size - len(lines)
    return "\n".join(lines + ([f"and {more} more components"] if more > 0 else []))
