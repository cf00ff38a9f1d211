"""Cases of elementwise functions, movement, indexing, reductions and control flow (see `cases.py`)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import jax.scipy as jsp
import numpy as np
from jax import lax

from tests.pattern.cases import INDEX, TRIANGLES, case, cases

# Elementwise and movement ---------------------------------------------------------------------------------------

cases(
    identity=lambda x: x,
    polynomial=lambda x: x**3 - 2 * x + 1,
    transcendental=lambda x: jnp.exp(jnp.sin(x)) * jnp.tanh(x) + jnp.arctan2(x, 2.0),
    special=lambda x: jsp.special.erf(x) + jsp.special.gammaln(jnp.abs(x) + 1.0) + jax.nn.gelu(x),
    clip=lambda x: jnp.clip(x, -10.0, 10.0),
    where_unknown=lambda x: jnp.where(x > 0, x, 2 * x),
    where_known=lambda x: jnp.where(np.arange(4)[None, :] < 2, x, x[::-1]),
    masked=lambda x: x * np.array([0.0, 1.0, 0.0, 2.0])[None, :],
    zero=lambda x: 0.0 * x,
    constant=lambda x: jnp.ones(3),
    floor=lambda x: jnp.floor(x) + jnp.sign(x) + jnp.round(x),
    stop_gradient=lambda x: x * lax.stop_gradient(x[::-1]),
    to_integer=lambda x: x.astype(int).astype(float) + x,
    maximum=lambda x: jnp.maximum(x, x[:, ::-1]),
    slices=lambda x: x[1:, ::2] - x[:-1, 1::2],
    roll=lambda x: jnp.roll(x, 1, 0) - 2 * x + jnp.roll(x, -1, 1),
    pad=lambda x: jnp.pad(x, ((1, 1), (0, 2)))[1:, 1:],
    pad_edge=lambda x: jnp.pad(x, 1, mode="edge")[1:-1, 2:] - jnp.pad(x, 1, mode="wrap")[1:-1, :-2],
    pad_interior=lambda x: lax.pad(x, 0.0, ((1, 0, 1), (-1, 2, 0))),
    concatenate=lambda x: jnp.concatenate([x[:1] * x[1:2], x[::-1], jnp.ones((1, 4))]),
    stack=lambda x: jnp.stack([x, x[::-1] * x], 1),
    unstack=lambda x: jnp.unstack(x, axis=1)[1] * jnp.unstack(x, axis=0)[2][:3],
    split=lambda x: jnp.split(x, 2, 1)[0] * jnp.split(x, 2, 1)[1],
    reshape_transpose=lambda x: x.T.reshape(2, 6)[1] * x.reshape(2, 6)[0],
    reshape_dimensions=lambda x: lax.reshape(x, (2, 6), dimensions=(1, 0)),
    flip=lambda x: jnp.flip(x, 1) * x,
    tile_repeat=lambda x: jnp.tile(x, (2, 1)) + jnp.repeat(x, 2, axis=0),
    broadcast=lambda x: x[:, :, None] * x[:, None, :],
    outer_shapes=lambda x: x[0][:, None] + x[1][None, :],
    diagonal=lambda x: jnp.diag(x[0]) + jnp.diagonal(x @ jnp.ones((4, 3))).sum(),
    tril=lambda x: jnp.tril(x) * jnp.triu(x),
    meshgrid=lambda x: sum(jnp.meshgrid(x[0], x[1])),
    moveaxis=lambda x: jnp.moveaxis(x[None], 0, 2) * x[:, :, None],
    barrier=lambda x: lax.optimization_barrier((x, x[::-1]))[1],
    nested_jit=lambda x: jax.jit(lambda y: jax.jit(jnp.sin)(y) * y[::-1])(x),
)

# Indexing -------------------------------------------------------------------------------------------------------

cases(
    gather=lambda x: x[INDEX[:3]] * x,
    gather_pair=lambda x: x[INDEX, np.arange(4)],
    gather_negative=lambda x: x[np.array([-1, 0])],
    gather_clip=lambda x: x.ravel().at[np.array([3, 99])].get(mode="clip"),
    gather_fill=lambda x: x.ravel().at[np.array([3, 99])].get(mode="fill", fill_value=0.0),
    gather_arange=lambda x: x.ravel()[(jnp.arange(6) * 5 + 1) % 12],
    gather_vmap=lambda x: jax.vmap(lambda i: x[0, i] * x[1, (i + 1) % 4])(jnp.arange(4)),
    gather_vmap_rows=lambda x: jax.vmap(lambda row, i: row[i])(x, jnp.array([3, 1, 0])),
    take_along_axis=lambda x: jnp.take_along_axis(x, np.array([[1], [0], [3]]), 1),
    gather_unknown_rows=lambda x: x[jnp.argmax(lax.stop_gradient(x[:, 0]))],
    gather_unknown_pair=lambda x: x[np.arange(3), jnp.argsort(lax.stop_gradient(x), 1)[:, 0]],
    boolean_mask=lambda x: x[np.array([True, False, True])],
    scatter_set=lambda x: x.at[1].set(x[0] * x[2]),
    scatter_add=lambda x: jnp.zeros(5).at[np.array([0, 3, 3, 1])].add(x[0] * x[1]),
    scatter_drop=lambda x: jnp.zeros(3).at[np.array([0, 9, 2, 0])].add(x[0]),
    scatter_multiply=lambda x: x.at[:, 1].multiply(x[:, 0]),
    scatter_max=lambda x: x.at[0].max(x[1]),
    scatter_vmap=lambda x: jax.vmap(lambda row, i: row.at[i].set(0.0))(x, jnp.array([3, 1, 0])),
    segment_sum=lambda x: jax.ops.segment_sum(x.ravel()[TRIANGLES].ravel() ** 2, TRIANGLES.ravel(), 12),
    dynamic_slice_known=lambda x: lax.dynamic_slice(x, (1, 1), (2, 2)) * lax.dynamic_slice(x, (9, 0), (2, 2)),
    dynamic_slice_unknown=lambda x: lax.dynamic_slice(x, (jnp.argmax(x[:, 0]), 1), (1, 2)),
    dynamic_update_known=lambda x: lax.dynamic_update_slice(x, x[:1, :2] ** 2, (1, 1)),
)


@case(12)
def fem_assembly(u):
    weights = jnp.einsum("ei,ej->eij", u[TRIANGLES], u[TRIANGLES])
    return jnp.zeros(12).at[TRIANGLES].add(weights.sum(2))


@case(3, 4)
def dynamic_update_unknown(x):
    return lax.dynamic_update_slice(x, x[:1, :2] ** 2, (jnp.argmax(x[:, 0]), 1))


# Reductions, windows, order -------------------------------------------------------------------------------------

cases(
    sum_axis=lambda x: x.sum(1),
    sum_all=lambda x: (x**2).sum(),
    mean_coupling=lambda x: x - x.mean(0)[None, :],
    product=lambda x: jnp.prod(x, 0),
    maximum_axis=lambda x: x.max(1),
    logsumexp=lambda x: jsp.special.logsumexp(x, 1),
    softmax=lambda x: jax.nn.softmax(x, 0),
    norm=lambda x: x / jnp.linalg.norm(x, axis=1)[:, None],
    variance=lambda x: jnp.var(x, 0),
    argmax=lambda x: jnp.argmax(x, 1).astype(float) + x[:, 0],
    cumsum=lambda x: jnp.cumsum(x, 1),
    cumprod_reverse=lambda x: lax.cumprod(x, 0, reverse=True),
    cummax=lambda x: lax.cummax(x, 1),
    cumlogsumexp=lambda x: lax.cumlogsumexp(x, 0),
    associative_scan=lambda x: lax.associative_scan(jnp.add, x, axis=1),
    sort=lambda x: jnp.sort(x, 1),
    sort_axis0=lambda x: jnp.sort(x, 0),
    sort_pairs=lambda x: lax.sort((x, 2 * x), dimension=1, num_keys=1)[1],
    top_k=lambda x: lax.top_k(x, 2)[0],
    median=lambda x: jnp.median(x, 1),
    average_pool=lambda x: lax.reduce_window(x, 0.0, lax.add, (2, 3), (1, 1), "VALID"),
    max_pool=lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (2, 2), (1, 2), "SAME"),
    variadic_reduce=lambda x: lax.reduce(
        (x, x[::-1]), (0.0, 0.0), lambda a, b: (a[0] + b[0], a[1] + b[1] + a[0] * 0.0), (1,)
    )[0],
    gradient_of_sum=lambda x: jax.grad(lambda y: (y[1:] * y[:-1] ** 2).sum())(x),
    gradient_of_cumsum=lambda x: jax.grad(lambda y: (jnp.cumsum(y, 1)[:, 1] ** 2).sum())(x),
)


# Both the choice and its tangent look into the window, which the pattern keeps apart: all pairs within a window.
@case(3, 4, excess=12)
def max_pool_gradient(x):
    def pooled(y):
        return (lax.reduce_window(y, -jnp.inf, lax.max, (1, 2), (1, 2), "VALID") ** 2).sum()

    return jax.grad(pooled)(x)


# Control flow ---------------------------------------------------------------------------------------------------


@case(6)
def scan_recurrence(x):
    return lax.scan(lambda c, a: (c * a, c + a), x[0], x[1:])[1]


@case(6)
def scan_reverse(x):
    return lax.scan(lambda c, a: (c * a, c + a), x[0], x[1:], reverse=True)[1]


@case(3, 4)
def scan_map(x):
    return lax.map(lambda row: row * row[::-1], x)


@case(7)
def fori_scatter(x):
    return lax.fori_loop(1, 6, lambda i, y: y.at[i].set(x[i - 1] * x[i + 1]), x)


@case(7)
def fori_dynamic(x):
    return lax.fori_loop(0, 3, lambda i, y: lax.dynamic_update_slice(y, y[1:2] * x[6], (2 * i,)), x)


@case(6)
def fori_gather_arange(x):
    order = jnp.arange(6)[::-1]
    return lax.fori_loop(0, 3, lambda i, y: y + x[order] * x[i], x * 0.0)


@case(6)
def while_known(x):
    return lax.while_loop(lambda s: s[0] < 2, lambda s: (s[0] + 1, s[1] + jnp.roll(s[1] ** 2, 1)), (0, x))[1]


@case(3, 4)
def while_unknown(x):
    return lax.while_loop(lambda y: y.sum() > 1e-3, lambda y: 0.5 * y * y[:, ::-1] / 3.0, x)


@case(6)
def while_bidiagonal(x):
    def body(y):
        return 0.5 * y + jnp.concatenate([jnp.zeros(1), 0.3 * y[:-1]])

    return lax.while_loop(lambda y: jnp.abs(y).max() > 1e-8, body, x)


@case(3, 4)
def cond_union(x):
    return lax.cond(x[0, 0] > 0, lambda y: y[::-1], lambda y: y * y[:, ::-1], x)


@case(3, 4)
def cond_known(x):
    return lax.cond(jnp.arange(3)[2] > 1, lambda y: y[::-1], lambda y: y * y[:, ::-1], x)


@case(3, 4)
def switch_vmap(x):
    return jax.vmap(lambda i, r: lax.switch(i, [lambda y: y, lambda y: y[::-1]], r))(jnp.array([0, 1, 0]), x)


@case(4)
def runge_kutta(y):
    def f(y):
        return jnp.concatenate([y[1:], jnp.zeros(1)]) - y**2

    k1 = f(y)
    return y + 0.1 * f(y + 0.05 * k1)
