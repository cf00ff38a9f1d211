"""Damped least squares without `J`: Krylov methods on products by `jax.jvp` and `jax.vjp`.

    x = S^-1 z,      min |J S^-1 z - v|^2 + |z|^2,      S^2 = diag(shift)

In Marquardt's damping `S` is a multiple of the norms of the columns, so that this is also the preconditioning by
column scaling. LSMR solves it as it stands (`krylov/_lsmr.py`), `cgls` by conjugate gradients on `J^T J`. Solutions are
inexact: the gradient of the linear problem falls by the forcing term (1e-2, a tenth of Ceres' default `eta`), which
costs Levenberg-Marquardt few of its steps.

Norms of columns come from products as well: for random signs `z`, (J^T z)_j^2 has the mean |J_j|^2. The logarithms of
sixteen such means are drawn towards their mean in each array of parameters, by as much as their spread is chance
(C. N. Morris, J. Amer. Statist. Assoc. 78 (1983) 47-55, doi:10.1080/01621459.1983.10477920).

References: D. C.-L. Fong, M. Saunders, SIAM J. Sci. Comput. 33 (2011) 2950-2971, doi:10.1137/10079687X. R. S. Dembo,
S. C. Eisenstat, T. Steihaug, Inexact Newton methods, SIAM J. Numer. Anal. 19 (1982) 400-408, doi:10.1137/0719025.
Cost: sixteen transposed products an iterate, a product and a transposed one an iteration; memory: vectors only.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Inexact

from sparsesolve._tree import Structure
from sparsesolve.krylov import cg, lsmr
from sparsesolve.least_squares.linear_step._linear_base import AbstractDampedSolver, Solved

_REDUCTION = 1e-2  # of the gradient, for steps
_TIGHT = 1e-10  # for derivatives
_PROBES = 16
_LEAST = 1e-16  # of the largest squared norm


class Bound(NamedTuple):
    """Squared norms of the columns, and the Jacobian as products; the latter lives within a trial only."""

    squares: Float[Array, " n"]
    jacobian: Any


class ProductSolver(AbstractDampedSolver):
    """LSMR, or conjugate gradients on the normal equations, on products with `J` and `J^T`."""

    num_factorizations = 0
    nnz_factor = 0
    direct = False

    def __init__(self, tangents: Structure, num_residuals: int, method: Literal["lsmr", "cgls"], max_steps: int = 5000):
        self.sizes = tangents.sizes
        self.num_residuals = num_residuals
        self.method = method
        self.max_steps = max_steps
        self.name = "LSMR without a Jacobian" if method == "lsmr" else "conjugate gradients without a Jacobian"

    def prepare(self, data: Inexact[Array, " nnz"]) -> Any:
        raise NotImplementedError("there are no entries; see prepare_operator")

    def prepare_operator(self, jacobian: Any) -> Float[Array, " n"]:
        shape = (self.num_residuals,)

        def square(key: Array) -> Array:
            return (jax.random.rademacher(key, shape).astype(jacobian.dtype) @ jacobian) ** 2

        keys = jax.random.split(jax.random.key(0), _PROBES)
        total = lax.fori_loop(1, _PROBES, lambda i, total: total + square(keys[i]), square(keys[0]))
        return self._drawn_together(total / _PROBES)

    def bound(self, prepared: Float[Array, " n"], jacobian: Any) -> Bound:
        return Bound(prepared, jacobian)

    def diagonal(self, prepared: Bound) -> Float[Array, " n"]:
        return prepared.squares

    def factor(self, prepared: Bound, shift: Float[Array, " n"]) -> Float[Array, " n"]:
        return shift

    def solve(self, prepared: Bound, factors: Float[Array, " n"], v: Inexact[Array, " m"]) -> Solved:
        jacobian, scale = prepared.jacobian, 1 / jnp.sqrt(factors)
        g = v @ jacobian
        if self.method == "cgls":
            return self._normal(prepared, factors, g, _REDUCTION)
        z, info = lsmr(
            lambda z: jacobian @ (scale * z),
            lambda w: scale * (w @ jacobian),
            v,
            damp=1.0,
            rtol=_REDUCTION,
            max_steps=self.max_steps,
        )
        return _checked(scale * z, g, info.num_steps)

    def solve_normal(self, prepared: Bound, factors: Float[Array, " n"], g: Inexact[Array, " n"]) -> Solved:
        return self._normal(prepared, factors, g, _TIGHT)

    def precondition(self, prepared: Bound, factors: Any, g: Inexact[Array, " n"]) -> Inexact[Array, " n"]:
        largest = jnp.max(prepared.squares, initial=0.0)
        return g / (jnp.where(largest > 0, jnp.maximum(prepared.squares, _LEAST * largest), 1.0) + factors)

    def _normal(self, prepared: Bound, shift: Array, g: Array, rtol: float) -> Solved:
        jacobian = prepared.jacobian
        # In unknowns scaled to a unit diagonal the norm of the residual is independent of their units.
        scale = jnp.sqrt(self.precondition(prepared, shift, jnp.ones_like(g)))

        def product(z: Array) -> Array:
            x = scale * z
            return scale * ((jacobian @ x) @ jacobian + shift * x)

        z, info = cg(product, scale * g, rtol=rtol, max_steps=self.max_steps, window=self.max_steps)
        return _checked(scale * z, g, info.num_steps)

    def _drawn_together(self, squares: Float[Array, " n"]) -> Float[Array, " n"]:
        """Estimates with less chance in them; see the module's description."""
        parts = jnp.split(squares, np.cumsum(self.sizes)[:-1])
        return jnp.concatenate([_shrunk(part) for part in parts])


def _shrunk(squares: Float[Array, " k"]) -> Float[Array, " k"]:
    if squares.shape[0] < 2:
        return squares
    seen = squares > 0
    count = jnp.maximum(jnp.sum(seen), 1)
    logs = jnp.where(seen, jnp.log(jnp.where(seen, squares, 1.0)), 0.0)
    mean = jnp.sum(logs) / count
    spread = jnp.sum(jnp.where(seen, (logs - mean) ** 2, 0.0)) / count
    kept = jnp.maximum(0.0, 1 - (2 / _PROBES) / jnp.maximum(spread, jnp.finfo(squares.dtype).tiny))
    return jnp.where(seen, jnp.exp(mean + kept * (logs - mean)), 0.0)


def _checked(x: Array, g: Array, steps: Array) -> Solved:
    good = jnp.all(jnp.isfinite(x)) & ((jnp.sum(x * g) > 0) | jnp.all(g == 0))
    return Solved(x, good, steps)
