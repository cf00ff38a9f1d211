"""Robust losses: what a squared residual counts for, so that a few outliers do not pull a fit away.

With `s = |r_b|^2 / scale^2` for the squared norm of a block of residuals, the cost is `1/2 sum_b scale^2 rho(s)`:

| name | rho(s) | pull of a large residual |
|---|---|---|
| linear | s | grows |
| soft_l1 | 2 (sqrt(1 + s) - 1) | constant |
| huber | s, from s = 1 on 2 sqrt(s) - 1 | constant |
| cauchy | log(1 + s) | fades |
| arctan | arctan(s) | fades |
| geman_mcclure | s / (1 + s) | fades |
| tukey | (1 - (1 - s)^3) / 3, from s = 1 on 1 / 3 | none from s = 1 on |

All have `rho(s) = s + O(s^2)`: small residuals count as without a loss, and `scale` is the size from which they do not.

References: P. W. Holland, R. E. Welsch, Robust regression using iteratively reweighted least-squares, Commun. Stat. 6
(1977) 813-827, doi:10.1080/03610927708827533; B. Triggs, P. McLauchlan, R. Hartley, A. Fitzgibbon, Bundle adjustment -
a modern synthesis, LNCS 1883 (2000) 298-372, section 3.3, doi:10.1007/3-540-44480-7_21.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float


def _linear(s: Any) -> Any:
    return s


def _soft_l1(s: Any) -> Any:
    return 2.0 * s / (1.0 + jnp.sqrt(1.0 + s))  # without cancellation for small s


def _huber(s: Any) -> Any:
    return jnp.where(s <= 1.0, s, 2.0 * jnp.sqrt(jnp.maximum(s, 1.0)) - 1.0)


def _geman_mcclure(s: Any) -> Any:
    return s / (1.0 + s)


def _tukey(s: Any) -> Any:
    t = jnp.minimum(s, 1.0)
    return t * (1.0 - t * (1.0 - t / 3.0))


LOSSES: dict[str, Callable[[Any], Any]] = {
    "linear": _linear,
    "soft_l1": _soft_l1,
    "huber": _huber,
    "cauchy": jnp.log1p,
    "arctan": jnp.arctan,
    "geman_mcclure": _geman_mcclure,
    "tukey": _tukey,
}


def _as_value(scale: Any) -> Any:
    """Integers as floats: integer leaves of arguments are configuration."""
    return float(scale) if isinstance(scale, int) else scale


class Loss(eqx.Module):
    """A robust loss by its name, for `least_squares(..., loss=)`.

    The scale is a value: changing it makes no new plan, and fitted parameters are differentiable with respect to it.

    Attributes:
        name: `"linear"`, `"soft_l1"`, `"huber"`, `"cauchy"`, `"arctan"`, `"geman_mcclure"` or `"tukey"`.
        scale: size of a residual from which it counts less (SciPy's `f_scale`).
        block: how many consecutive residuals count as one, by their norm: 2 for points in an image.

    Raises:
        ValueError: there is no such loss, or its scale or block is not positive.

    References:
        P. W. Holland, R. E. Welsch, Commun. Stat. 6 (1977) 813-827, doi:10.1080/03610927708827533.

    Example:
        >>> import jax.numpy as jnp
        >>> import sparsesolve as ss
        >>> data = jnp.array([1.0, 1.1, 0.9, 1.0, 50.0])
        >>> sol = ss.least_squares(lambda y, args: y - args, None, 0.0, data, loss=ss.Loss("cauchy", scale=0.1))
        >>> round(float(sol.value), 3)
        1.0
    """

    name: str = eqx.field(static=True)
    scale: Any = eqx.field(default=1.0, converter=_as_value)
    block: int = eqx.field(default=1, static=True)

    def __check_init__(self) -> None:
        if self.name not in LOSSES:
            raise ValueError(f"Unknown loss {self.name!r}; there are {', '.join(map(repr, LOSSES))}.")
        if not isinstance(self.block, int) or self.block < 1:
            raise ValueError(f"Loss got block={self.block!r}; it is how many residuals count as one, 1 or more.")
        known = isinstance(self.scale, float | np.ndarray | np.generic | Array) and not isinstance(self.scale, Tracer)
        if known and not np.all(np.asarray(self.scale) > 0):
            raise ValueError(f"Loss got scale={self.scale!r}; it is the size of a good residual, a positive number.")

    def __call__(self, s: Float[Array, ...]) -> Float[Array, ...]:
        """`rho(s)` of squared residuals that were divided by `scale^2`."""
        return LOSSES[self.name](s)


def as_loss(loss: Any) -> Any:
    """A name as a loss of scale 1; everything else as it is."""
    return Loss(loss) if isinstance(loss, str) else loss
