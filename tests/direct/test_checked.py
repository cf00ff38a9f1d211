"""Checked solves by the kernels against those in plain JAX: the same solutions, verdicts and counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsesolve import _native
from sparsesolve.direct import SolveStatus, plan_direct, solve_once, solve_refined
from sparsesolve.direct._base import AbstractDirectPlan
from sparsesolve.direct._matching import structural_matching
from sparsesolve.direct._simplicial import SimplicialPlan
from tests.direct import problems

pytestmark = pytest.mark.skipif(not _native.available(), reason=_native.status())

N = 90
KINDS = ("multifrontal", "simplicial", "symmetric")


def make(kind, dtype=np.float64):
    pattern, values = problems.split(problems.stencil(9, 10, convection=0.0 if kind == "symmetric" else 0.4), dtype)
    if kind == "simplicial":
        return SimplicialPlan(pattern, structural_matching(pattern)), values
    symmetry = "positive" if kind == "symmetric" else None
    return plan_direct(pattern, method="multifrontal", symmetry=symmetry), values


def batch(plan, values):
    """Sound, drifted (refinement is not enough), singular, not finite, and sound members to fill groups of lanes."""
    pattern, rng = plan.pattern, np.random.default_rng(0)
    drifted = values * np.where((pattern.rows % 5 == 0) | (pattern.indices % 5 == 0), 3, 1)
    singular = np.where((pattern.rows == 20) | (pattern.indices == 20), 0, values)
    broken = values * np.where(np.arange(values.size) == 7, np.nan, 1)
    members = [
        values,
        drifted,
        singular,
        broken,
        *(values * rng.uniform(1 - 1e-5, 1 + 1e-5, values.size) for _ in range(6)),
    ]
    return jnp.asarray(np.stack(members).astype(values.dtype))


def plain(monkeypatch):
    for kind in (type(make(kind)[0]) for kind in KINDS):
        monkeypatch.setattr(kind, "solve_checked", AbstractDirectPlan.solve_checked)


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize(
    ("kind", "dtype"), [*((k, np.float64) for k in KINDS), ("simplicial", np.float32), ("simplicial", np.complex128)]
)
def test_the_same_verdicts_as_plain_jax(kind, dtype, transpose, monkeypatch):
    plan, values = make(kind, dtype)
    data, factors = batch(plan, values), plan.factor(jnp.asarray(values))
    rhs = jnp.asarray(np.random.default_rng(1).standard_normal((10, N)).astype(dtype))

    def run(d, b):
        return solve_refined(plan, factors, d, b, transpose=transpose)

    x, info = jax.jit(jax.vmap(run))(data, rhs)
    plain(monkeypatch)
    y, expected = jax.jit(jax.vmap(run))(data, rhs)
    words = [SolveStatus.successful] * 10
    words[2:4] = [SolveStatus.singular, SolveStatus.nonfinite]
    for found in (info, expected):
        assert all(np.asarray(found.status == word)[i] for i, word in enumerate(words))
    steps = np.asarray(info.num_linear_iterations)
    assert steps[1] > 0 and steps[2] > 0 and not steps[[0, *range(3, 10)]].any()
    good = [0, 1, *range(4, 10)]
    assert np.asarray(info.backward_error)[good].max() < np.finfo(dtype).eps ** 0.8
    np.testing.assert_allclose(x[np.array(good)], y[np.array(good)], rtol=1e6 * np.finfo(dtype).eps)


@pytest.mark.parametrize("kind", KINDS)
def test_factors_of_the_moment_give_the_same_solutions(kind):
    plan, values = make(kind)
    data = batch(plan, values)
    rhs = jnp.ones((10, N))
    x, info = jax.jit(jax.vmap(lambda d, b: solve_once(plan, d, b)))(data, rhs)
    y, expected = jax.jit(jax.vmap(lambda d, b: solve_refined(plan, plan.factor(d), d, b)))(data, rhs)
    good = np.array([0, 1, *range(4, 10)])
    assert np.asarray(info.converged)[good].all() and not np.asarray(info.converged)[2:4].any()
    assert np.asarray(info.status == expected.status).all()
    np.testing.assert_allclose(x[good], y[good], rtol=1e-11)
    one = solve_once(plan, data[0], rhs[0], transpose=True)[0]
    a = np.zeros((N, N))
    a[plan.pattern.rows, plan.pattern.indices] = values
    np.testing.assert_allclose(a.T @ np.asarray(one), 1.0, atol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axes", [(None, 0), (0, None)])
def test_operands_that_all_members_share(kind, axes):
    plan, values = make(kind)
    data = jnp.asarray(values)
    data = data if axes[0] is None else jnp.stack([data * (1 + 0.01 * i) for i in range(11)])
    rhs = jnp.ones(N) if axes[1] is None else jnp.stack([jnp.linspace(1.0, 2.0 + i, N) for i in range(11)])
    many = jax.vmap(lambda d, b: solve_once(plan, d, b), axes)(data, rhs)
    for i in (0, 7, 10):
        member = data if axes[0] is None else data[i], rhs if axes[1] is None else rhs[i]
        x, info = solve_once(plan, *member)
        assert info.converged
        np.testing.assert_allclose(many[0][i], x, rtol=1e-11)


def test_values_of_a_matrix_that_is_not_symmetric_are_told():
    plan, values = make("symmetric")
    data = jnp.asarray(np.where(plan.pattern.rows > plan.pattern.indices, 3 * values, values))
    for transpose in (False, True):
        x, info = solve_refined(plan, plan.factor(jnp.asarray(values)), data, jnp.ones(N), transpose=transpose)
        a = np.zeros((N, N))
        a[plan.pattern.rows, plan.pattern.indices] = data
        residual = (a.T if transpose else a) @ np.asarray(x) - 1
        assert bool(info.converged) == (np.abs(residual).max() < 1e-10)


def test_groups_of_right_hand_sides_of_several_matrices():
    """Forty of each matrix are no multiple of what is solved at once: buffers must fit whatever comes first."""
    plan, values = make("multifrontal")
    data = jnp.stack([jnp.asarray(values) * (1 + i) for i in range(5)])
    rhs = jnp.asarray(np.random.default_rng(2).standard_normal((5, 40, N)))

    def solve(d, many):
        factors = plan.factor(d)
        return jax.vmap(lambda b: solve_refined(plan, factors, d, b))(many)

    x, info = jax.jit(jax.vmap(solve))(data, rhs)
    assert bool(info.converged.all())
    np.testing.assert_allclose(x[3, 39] * 4, solve_once(plan, data[0], rhs[3, 39])[0], rtol=1e-10)
