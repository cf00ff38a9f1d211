"""Factors of lower precision: half the memory, and the full accuracy from refinement or GMRES in `solve_refined`.

The values are divided by a power of two near their largest, rounded, and factorized by another plan; right-hand sides
are scaled likewise, so that neither overflows nor underflows in the smaller exponent range. One solve reduces the
residual by about `eps_low cond(A)`. Reference: E. Carson, N. J. Higham, SIAM J. Sci. Comput. 40 (2018) A817-A847,
doi:10.1137/17M1140819. Cost: half the memory and traffic of the plan inside, and a few refinements more a solve.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, DTypeLike, Inexact, Real

from sparsesolve.direct._base import AbstractDirectPlan


class MixedFactors(NamedTuple):
    """Factors of `A / scale` in low precision."""

    inner: Any
    scale: Real[Array, ""]


class MixedPlan(AbstractDirectPlan):
    """Another plan whose factors are kept in `factor_dtype`.

    Args:
        inner: plan of the factorization.
        factor_dtype: real; complex values are kept in its complex counterpart.
    """

    def __init__(self, inner: AbstractDirectPlan, factor_dtype: np.dtype):
        self.inner, self.factor_dtype = inner, factor_dtype
        self.pattern, self.kind = inner.pattern, inner.kind
        self.nnz_factor, self.flops, self.workspace = inner.nnz_factor, inner.flops, inner.workspace
        self.time, self.alternatives = inner.time, inner.alternatives
        self.choices = (inner, factor_dtype.name)

    def factor(self, data: Inexact[Array, " nnz"]) -> MixedFactors:
        scale = _power_of_two(data)
        return MixedFactors(self.inner.factor(self._low(data / scale)), scale)

    def solve(
        self, factors: MixedFactors, rhs: Inexact[Array, " n"], *, transpose: bool = False
    ) -> Inexact[Array, " n"]:
        size = _power_of_two(rhs)
        x = self.inner.solve(factors.inner, self._low(rhs / size), transpose=transpose)
        dtype = jnp.result_type(rhs.dtype, jnp.complex64) if jnp.iscomplexobj(x) else rhs.dtype
        return x.astype(dtype) * (size / factors.scale).astype(jnp.finfo(dtype).dtype)

    def sound(self, factors: MixedFactors) -> Bool[Array, ""]:
        return self.inner.sound(factors.inner)

    def statistics(self, factors: MixedFactors) -> dict[str, Array]:
        return self.inner.statistics(factors.inner)

    def _low(self, values: Array) -> Array:
        is_complex = jnp.issubdtype(values.dtype, jnp.complexfloating)
        return values.astype(jnp.result_type(self.factor_dtype, jnp.complex64) if is_complex else self.factor_dtype)


def low_precision(factor_dtype: DTypeLike) -> np.dtype:
    """The real type that `factor_dtype` names.

    Raises:
        ValueError: it is not a floating-point type that factorizations exist for.
    """
    dtype = np.dtype(factor_dtype)
    real = {"complex64": "float32", "complex128": "float64"}.get(dtype.name, dtype.name)
    if real not in ("float32", "float64"):
        raise ValueError(f"factor_dtype={dtype.name} is not supported; write jnp.float32, jnp.float64 or None.")
    return np.dtype(real)


def _power_of_two(values: Inexact[Array, " n"]) -> Real[Array, ""]:
    """A power of two near the largest finite magnitude; one where there is none."""
    size = jnp.abs(values)
    largest = jnp.max(jnp.where(jnp.isfinite(size), size, 0), initial=0)
    _, exponent = jnp.frexp(jnp.where(largest > 0, largest, jnp.ones_like(largest)))
    limit = -jnp.finfo(size.dtype).minexp - 2
    return jnp.ldexp(jnp.ones_like(largest), jnp.clip(exponent, -limit, limit))
