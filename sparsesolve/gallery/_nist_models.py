"""The models of the 27 nonlinear regression sets of the NIST Statistical Reference Datasets, by name of the set.

Each is `model(x, b1, b2, ...)`, vectorised over `x`. Nelson's has two predictors, `x` of shape `(2, n)`, and fits the
logarithm of the response.

Reference: NIST/ITL, Statistical Reference Datasets, nonlinear regression, https://www.itl.nist.gov/div898/strd/.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp


def _bennett5(x: Any, b1: Any, b2: Any, b3: Any) -> Any:
    return b1 * (b2 + x) ** (-1.0 / b3)


def _saturation(x: Any, b1: Any, b2: Any) -> Any:
    return b1 * (1.0 - jnp.exp(-b2 * x))


def _chwirut(x: Any, b1: Any, b2: Any, b3: Any) -> Any:
    return jnp.exp(-b1 * x) / (b2 + b3 * x)


def _dan_wood(x: Any, b1: Any, b2: Any) -> Any:
    return b1 * x**b2


def _enso(x: Any, b1: Any, b2: Any, b3: Any, b4: Any, b5: Any, b6: Any, b7: Any, b8: Any, b9: Any) -> Any:
    year, first, second = (2.0 * jnp.pi * x / period for period in (12.0, b4, b7))
    annual = b2 * jnp.cos(year) + b3 * jnp.sin(year)
    return b1 + annual + b5 * jnp.cos(first) + b6 * jnp.sin(first) + b8 * jnp.cos(second) + b9 * jnp.sin(second)


def _eckerle4(x: Any, b1: Any, b2: Any, b3: Any) -> Any:
    return b1 / b2 * jnp.exp(-0.5 * ((x - b3) / b2) ** 2)


def _two_gaussians(x: Any, b1: Any, b2: Any, b3: Any, b4: Any, b5: Any, b6: Any, b7: Any, b8: Any) -> Any:
    baseline = b1 * jnp.exp(-b2 * x)
    return baseline + b3 * jnp.exp(-(((x - b4) / b5) ** 2)) + b6 * jnp.exp(-(((x - b7) / b8) ** 2))


def _cubic_over_cubic(x: Any, b1: Any, b2: Any, b3: Any, b4: Any, b5: Any, b6: Any, b7: Any) -> Any:
    return (b1 + x * (b2 + x * (b3 + x * b4))) / (1.0 + x * (b5 + x * (b6 + x * b7)))


def _kirby2(x: Any, b1: Any, b2: Any, b3: Any, b4: Any, b5: Any) -> Any:
    return (b1 + x * (b2 + x * b3)) / (1.0 + x * (b4 + x * b5))


def _three_exponentials(x: Any, b1: Any, b2: Any, b3: Any, b4: Any, b5: Any, b6: Any) -> Any:
    return b1 * jnp.exp(-b2 * x) + b3 * jnp.exp(-b4 * x) + b5 * jnp.exp(-b6 * x)


def _mgh09(x: Any, b1: Any, b2: Any, b3: Any, b4: Any) -> Any:
    return b1 * (x**2 + x * b2) / (x**2 + x * b3 + b4)


def _mgh10(x: Any, b1: Any, b2: Any, b3: Any) -> Any:
    return b1 * jnp.exp(b2 / (x + b3))


def _mgh17(x: Any, b1: Any, b2: Any, b3: Any, b4: Any, b5: Any) -> Any:
    return b1 + b2 * jnp.exp(-x * b4) + b3 * jnp.exp(-x * b5)


def _misra1b(x: Any, b1: Any, b2: Any) -> Any:
    return b1 * (1.0 - (1.0 + b2 * x / 2.0) ** -2)


def _misra1c(x: Any, b1: Any, b2: Any) -> Any:
    return b1 * (1.0 - (1.0 + 2.0 * b2 * x) ** -0.5)


def _misra1d(x: Any, b1: Any, b2: Any) -> Any:
    return b1 * b2 * x / (1.0 + b2 * x)


def _nelson(x: Any, b1: Any, b2: Any, b3: Any) -> Any:
    return b1 - b2 * x[0] * jnp.exp(-b3 * x[1])


def _rat42(x: Any, b1: Any, b2: Any, b3: Any) -> Any:
    return b1 / (1.0 + jnp.exp(b2 - b3 * x))


def _rat43(x: Any, b1: Any, b2: Any, b3: Any, b4: Any) -> Any:
    return b1 / (1.0 + jnp.exp(b2 - b3 * x)) ** (1.0 / b4)


def _roszman1(x: Any, b1: Any, b2: Any, b3: Any, b4: Any) -> Any:
    return b1 - b2 * x - jnp.arctan(b3 / (x - b4)) / jnp.pi


NIST_MODELS: dict[str, Callable[..., Any]] = {
    "Bennett5": _bennett5,
    "BoxBOD": _saturation,
    "Chwirut1": _chwirut,
    "Chwirut2": _chwirut,
    "DanWood": _dan_wood,
    "ENSO": _enso,
    "Eckerle4": _eckerle4,
    "Gauss1": _two_gaussians,
    "Gauss2": _two_gaussians,
    "Gauss3": _two_gaussians,
    "Hahn1": _cubic_over_cubic,
    "Kirby2": _kirby2,
    "Lanczos1": _three_exponentials,
    "Lanczos2": _three_exponentials,
    "Lanczos3": _three_exponentials,
    "MGH09": _mgh09,
    "MGH10": _mgh10,
    "MGH17": _mgh17,
    "Misra1a": _saturation,
    "Misra1b": _misra1b,
    "Misra1c": _misra1c,
    "Misra1d": _misra1d,
    "Nelson": _nelson,
    "Rat42": _rat42,
    "Rat43": _rat43,
    "Roszman1": _roszman1,
    "Thurber": _cubic_over_cubic,
}
"""`model(x, *parameters)` by the name of the set."""
