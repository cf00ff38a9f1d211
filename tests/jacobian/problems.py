"""Plain JAX functions with known structure, small enough to compare with `jax.jacfwd`."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial import Delaunay

RNG = np.random.default_rng(7)


@dataclasses.dataclass(frozen=True)
class Case:
    """A function, where to differentiate it, and how many colours its nonlinear core needs (None: not asserted)."""

    name: str
    f: Callable[..., Any]
    x: Any
    colors: int | None
    peeled: bool | None = True


def laplacian(u):
    return jnp.roll(u, 1, 0) + jnp.roll(u, -1, 0) + jnp.roll(u, 1, 1) + jnp.roll(u, -1, 1) - 4 * u


def bratu(u):
    p = jnp.pad(u, 1)
    return 50.0 * (p[2:, 1:-1] + p[:-2, 1:-1] + p[1:-1, 2:] + p[1:-1, :-2] - 4 * u) + 6.0 * jnp.exp(u)


def nine_point(u):
    p = jnp.pad(u, 1)
    m, n = u.shape
    shifts = [(i, j) for i in range(3) for j in range(3)]
    return sum(p[i : i + m, j : j + n] * (1.0 + i + 2 * j) for i, j in shifts) + jnp.sin(u)


def brusselator(y, nu=0.1, b=3.4):
    u, v = y
    reaction = u * u * v
    return jnp.stack([1 + reaction - (b + 1) * u + nu * laplacian(u), b * u - reaction + nu * laplacian(v)])


def six_species(y):
    w = [y[k] for k in range(6)]
    rates = [w[k] * w[(k + 1) % 6] ** 2 for k in range(6)]
    return jnp.stack([rates[k] - 0.5 * rates[k - 1] + 0.1 * (k + 1) * laplacian(w[k]) for k in range(6)])


_POINTS = RNG.uniform(size=(40, 2))
TRIANGLES = Delaunay(_POINTS).simplices.astype(np.int32)
_CORNERS = _POINTS[TRIANGLES]
_EDGES = _CORNERS[:, [2, 0, 1]] - _CORNERS[:, [1, 2, 0]]
_AREA = 0.5 * np.abs(_EDGES[:, 0, 0] * _EDGES[:, 1, 1] - _EDGES[:, 0, 1] * _EDGES[:, 1, 0])
_GRADIENTS = np.stack([-_EDGES[..., 1], _EDGES[..., 0]], -1) / (2 * _AREA[:, None, None])


def finite_elements(u):
    local = u[TRIANGLES]
    gradient = jnp.einsum("ek,ekd->ed", local, _GRADIENTS)
    flux = gradient * ((1 + local.mean(1) ** 2) * _AREA)[:, None]
    return jnp.zeros(u.shape[0]).at[TRIANGLES].add(jnp.einsum("ed,ekd->ek", flux, _GRADIENTS))


def burgers(u):
    flux = 0.5 * u**2
    return (flux[1:] - flux[:-1])[1:] + 0.3 * (u[2:] - 2 * u[1:-1] + u[:-2])


def linear_stencil(u):
    return 3.0 * u - jnp.roll(u, 1) - jnp.roll(u, 2)


def arrow(u):
    return jnp.concatenate([u[1:] * u[0] + u[1:] ** 3, jnp.sum(u**2)[None]])


def products(u):
    return u[1:] * u[:-1]


def tree(x):
    return {"a": x["b"][:, 0] ** 2 + x["c"], "d": jnp.sum(x["b"] * x["c"][:, None], axis=1)}


def with_loop(u):
    def body(carry, _):
        return carry + 0.1 * jnp.sin(jnp.roll(carry, 1)), None

    return jax.lax.scan(body, u, None, length=2)[0]


def custom_rule(u):
    return jax.nn.relu(u) * jnp.roll(u, 1) + jax.nn.softplus(u) + 2.0 * jnp.roll(u, -1)


def stopped(u):
    return jax.lax.stop_gradient(u[1:]) * u[:-1] + jnp.where(u[1:] > 0, u[1:], 0.0)


def masked(u):
    inside = np.zeros(u.shape, bool)
    inside[1:-1, 1:-1] = True
    return jnp.where(inside, laplacian(u) + u**3, u - 1.0)


def normal(*shape):
    return jnp.asarray(RNG.normal(size=shape))


CASES = [
    Case("bratu", bratu, normal(5, 6), 1),
    Case("nine point", nine_point, normal(5, 6), 1),
    Case("brusselator", brusselator, normal(2, 5, 4), 1),
    Case("six species", six_species, normal(6, 3, 4), 2),
    Case("finite elements", finite_elements, normal(40), 3),
    Case("burgers", burgers, normal(9), 1),
    Case("linear", linear_stencil, normal(7), 0),
    Case("arrow", arrow, normal(40), 2),
    Case("products", products, normal(8), None, None),
    Case("tree", tree, {"b": normal(4, 3), "c": normal(4)}, None, None),
    Case("loop", with_loop, normal(9), 3, False),
    Case("custom rule", custom_rule, normal(6), None, None),
    Case("stopped", stopped, normal(8), None, None),
    Case("masked", masked, normal(5, 6), 1),
]
