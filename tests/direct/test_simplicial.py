"""The compiled simplicial LU against dense solves: matrices, types, batches, transformations, singular values."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

from sparsesolve import _native
from sparsesolve.direct import plan_direct, solve_refined
from sparsesolve.direct._matching import structural_matching
from sparsesolve.direct._simplicial import SimplicialPlan
from sparsesolve.direct._simplicial_order import strong_components
from tests.direct import problems

pytestmark = pytest.mark.skipif(not _native.available(), reason=_native.status())

MATRICES = {
    "five points": lambda: problems.stencil(12, 13),
    "convection": lambda: problems.stencil(14, 11, convection=0.9),
    "three dimensions": lambda: problems.stencil(7, 6, 5),
    "brusselator": lambda: problems.brusselator(9),
    "chain": lambda: problems.band(150, 1) + 4 * sp.eye(150),
    "blocks in a chain": lambda: block_tridiagonal(20, 8),
    "components": lambda: problems.blocks() + 30 * sp.eye(114),
    "block triangular": lambda: block_triangular(90),
    "full": lambda: sp.csr_matrix(np.random.default_rng(0).standard_normal((40, 40)) + 20 * np.eye(40)),
    "one unknown": lambda: sp.csr_matrix([[2.0]]),
}
CASES = [
    *((name, np.float64) for name in MATRICES),
    *((name, t) for name in ("convection", "block triangular") for t in (np.float32, np.complex64)),
    ("blocks in a chain", np.float32),
    ("brusselator", np.complex128),
]


def block_tridiagonal(count, size):
    rng = np.random.default_rng(1)
    chain = sp.diags([np.ones(count - abs(k)) for k in (-1, 0, 1)], [-1, 0, 1])
    pattern = sp.kron(chain, np.ones((size, size))).tocsr()
    pattern.data = rng.standard_normal(pattern.nnz)
    return pattern + 4 * size * sp.eye(count * size)


def block_triangular(n):
    """Strong components of one to six unknowns with entries above them, shuffled."""
    rng = np.random.default_rng(2)
    matrix = sp.triu(sp.random(n, n, 3.0 / n, random_state=rng))
    matrix = matrix + sp.block_diag([sp.coo_matrix(rng.standard_normal((k, k))) for k in [1, 6, 2, 1, 5] * (n // 15)])
    shuffle = rng.permutation(n)
    return (matrix + 5 * sp.eye(n)).tocsr()[shuffle][:, shuffle]


def simplicial(matrix, dtype=np.float64):
    pattern, values = problems.split(matrix, dtype)
    return SimplicialPlan(pattern, structural_matching(pattern)), jnp.asarray(values)


def small():
    plan, values = simplicial(problems.stencil(9, 10, convection=0.4))
    return plan, values, jnp.linspace(1.0, 2.0, 90)


def dense(pattern, values):
    return sp.csr_matrix((np.asarray(values), pattern.indices, pattern.indptr), shape=pattern.shape).toarray()


def backward_error(a, x, b):
    return np.abs(a @ x - b).max() / (np.abs(a).sum(1).max() * np.abs(x).max() + np.abs(b).max())


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_backward_error_is_small_alone_and_in_a_batch(name, dtype):
    plan, values = simplicial(MATRICES[name](), dtype)
    members = 19  # more than a group of any type, and no multiple of one
    tolerance = 1e4 * np.finfo(dtype).eps
    growth = jnp.asarray(1 + 0.1 * np.random.default_rng(0).random((members, values.size)), values.real.dtype)
    many = values[None, :] * growth
    rhs = np.random.default_rng(0).standard_normal((members, plan.pattern.shape[0])).astype(dtype)
    factors = jax.jit(jax.vmap(plan.factor))(many)
    assert factors.values.shape == (members, plan.nnz_factor) and factors.values.dtype == dtype
    for transpose in (False, True):
        solve = jax.vmap(lambda f, b, t=transpose: plan.solve(f, b, transpose=t))
        x = np.asarray(solve(factors, jnp.asarray(rhs)))
        alone = plan.solve(plan.factor(many[3]), jnp.asarray(rhs[3]), transpose=transpose)
        assert x.dtype == alone.dtype == dtype
        for i in range(members):
            a = dense(plan.pattern, many[i])
            assert backward_error(a.T if transpose else a, x[i], rhs[i]) < tolerance
        a = dense(plan.pattern, many[3])
        assert backward_error(a.T if transpose else a, np.asarray(alone), rhs[3]) < tolerance


@hypothesis.settings(deadline=None, max_examples=25, derandomize=True)
@hypothesis.given(n=st.integers(1, 60), per_row=st.floats(0.0, 6.0), seed=st.integers(0, 10**6))
def test_random_patterns(n, per_row, seed):
    rng = np.random.default_rng(seed)
    matrix = sp.random(n, n, min(1.0, per_row / n), random_state=rng) + sp.diags(2 + 4 * rng.random(n))
    plan, values = simplicial(matrix)
    rhs = rng.standard_normal(n)
    for transpose in (False, True):
        x = np.asarray(plan.solve(plan.factor(values), jnp.asarray(rhs), transpose=transpose))
        a = dense(plan.pattern, values)
        np.testing.assert_allclose((a.T if transpose else a) @ x, rhs, atol=1e-9 * max(1.0, np.abs(x).max()))


@pytest.mark.parametrize("name", ["saddle_point", "weak_diagonal", "circuit", "permuted"])
def test_hard_matrices_with_sample_and_refinement(name):
    matrix = {
        "saddle_point": lambda: problems.saddle_point(9),
        "weak_diagonal": lambda: problems.weak_diagonal(150),
        "circuit": lambda: problems.circuit(150),
        "permuted": lambda: problems.permuted(problems.stencil(9, 11, convection=0.5)),
    }[name]()
    pattern, values = problems.split(matrix)
    plan, data = plan_direct(pattern, method="simplicial", sample=values), jnp.asarray(values)
    assert isinstance(plan, SimplicialPlan)
    for transpose in (False, True):
        rhs = jnp.ones(pattern.shape[0])
        _, info = solve_refined(plan, plan.factor(data), data, rhs, transpose=transpose)
        assert info.converged and info.backward_error < 1e-14


def test_block_triangular_form_has_no_fill_above_the_blocks():
    matrix = block_triangular(90)
    plan, _ = simplicial(matrix)
    tables = plan.tables
    assert plan.num_blocks == 30 and np.diff(tables.blocks).max() == 6
    inside = matrix.nnz - tables.off_row.size
    assert tables.off_row.size > 60
    assert tables.l_row.size + tables.u_row.size + 90 == inside == sum([1, 36, 4, 1, 25]) * 6
    chain = sp.diags([np.ones(49)], [1]).tocoo()
    assert np.array_equal(strong_components(chain.row, chain.col, 50), np.arange(50))


@pytest.mark.parametrize("count", [1, 2, 7, 33])
def test_many_right_hand_sides(count):
    plan, data, rhs = small()
    factors = plan.factor(data)
    block = rhs[:, None] * jnp.linspace(-1.0, 3.0, count)[None, :] + jnp.eye(rhs.size, count)
    for transpose in (False, True):
        alone = [plan.solve(factors, block[:, j], transpose=transpose) for j in range(count)]
        np.testing.assert_allclose(plan.solve(factors, block, transpose=transpose), jnp.stack(alone, 1), rtol=1e-9)


@pytest.mark.parametrize("members", [2, 9])
def test_nested_vmap_over_values_right_hand_sides_and_both(members):
    plan, data, rhs = small()
    scales, shifts = jnp.linspace(0.5, 2.0, members), jnp.array([1.0, -1.0, 3.0])
    alone = plan.solve(plan.factor(data), rhs)
    factors = jax.vmap(lambda s: plan.factor(s * data))(scales)
    expected = (shifts[None, :] / scales[:, None])[:, :, None] * alone[None, None, :]
    nested = jax.vmap(lambda f: jax.vmap(lambda c: plan.solve(f, c * rhs))(shifts))(factors)
    np.testing.assert_allclose(nested, expected, rtol=1e-9)
    swapped = jax.vmap(lambda c: jax.vmap(lambda f: plan.solve(f, c * rhs))(factors))(shifts)
    np.testing.assert_allclose(swapped, expected.transpose(1, 0, 2), rtol=1e-9)
    shared = jax.vmap(lambda f: plan.solve(f, rhs))(factors)
    np.testing.assert_allclose(shared, alone[None, :] / scales[:, None], rtol=1e-9)
    grid = jax.vmap(lambda c: jax.vmap(lambda s: plan.factor(c * s * data))(scales))(shifts)
    both = jax.vmap(jax.vmap(lambda f: plan.solve(f, rhs)))(grid)
    np.testing.assert_allclose(both, alone[None, None, :] / (shifts[:, None, None] * scales[None, :, None]), rtol=1e-9)


def test_a_failed_member_does_not_touch_the_others():
    plan, data, rhs = small()
    many = jnp.stack([data * (1 + 0.1 * i) for i in range(12)])
    broken = many.at[2].set(jnp.nan).at[5, 7].set(jnp.inf).at[9].set(0.0)
    broken = broken.at[10].set(jnp.where(plan.pattern.rows == 3, 0.0, broken[10]))

    @jax.jit
    @jax.vmap
    def run(values):
        return solve_refined(plan, plan.factor(values), values, rhs)

    good = np.setdiff1d(np.arange(12), [2, 5, 9, 10])
    x, info = run(broken)
    np.testing.assert_array_equal(np.asarray(info.converged), np.isin(np.arange(12), good))
    np.testing.assert_array_equal(x[good], run(many)[0][good])


def test_values_far_from_one_and_singular_ones():
    plan, data, rhs = small()
    rows = plan.pattern.rows
    for values in (jnp.where(rows == 3, 0.0, data), jnp.full_like(data, jnp.nan), data.at[5].set(jnp.inf), 0 * data):
        _, info = solve_refined(plan, plan.factor(values), values, rhs)
        assert not info.converged
    scaled = data * jnp.where(rows % 2 == 0, 1e-100, 1e100)
    _, info = solve_refined(plan, plan.factor(scaled), scaled, rhs * jnp.where(jnp.arange(rhs.size) % 2 == 0, 0, 1e100))
    assert info.converged


def test_inside_scan_and_cond_and_derivatives():
    plan, data, rhs = small()

    @jax.jit
    def march(x):
        def step(carry, scale):
            factors, x = carry
            factors = jax.lax.cond(scale > 1, lambda: plan.factor(scale * data), lambda: factors)
            return (factors, plan.solve(factors, x)), None

        return jax.lax.scan(step, (plan.factor(data), x), jnp.array([1.0, 2.0]))[0][1]

    factors = plan.factor(data)
    np.testing.assert_allclose(march(rhs), plan.solve(factors, plan.solve(factors, rhs)) / 2, rtol=1e-9)
    gradient = jax.grad(lambda b: plan.solve(factors, b) @ rhs)(rhs)
    np.testing.assert_allclose(gradient, plan.solve(factors, rhs, transpose=True), rtol=1e-9)
    jacobian = jax.jacrev(lambda b: plan.solve(factors, b))(rhs)
    np.testing.assert_allclose(jacobian @ dense(plan.pattern, data), np.eye(rhs.size), atol=1e-9)
    z = plan.solve(factors, rhs + 2j * rhs)
    np.testing.assert_allclose(z, plan.solve(factors, rhs) * (1 + 2j), rtol=1e-12)


def test_chosen_for_little_fill_and_not_for_large_grids(monkeypatch):
    ladder, _ = problems.split(block_tridiagonal(200, 3))
    grid, _ = problems.split(problems.stencil(60, 60))
    assert plan_direct(ladder).kind == "simplicial" and plan_direct(grid).kind == "multifrontal"
    assert plan_direct(grid, method="simplicial").kind == "simplicial"
    assert plan_direct(ladder) == plan_direct(ladder) != plan_direct(ladder, method="multifrontal")
    assert plan_direct(ladder, backend="portable").kind != "simplicial"
    monkeypatch.setenv("SPARSESOLVE_NATIVE", "0")
    assert plan_direct(ladder).kind != "simplicial"
    with pytest.raises(ValueError, match="SPARSESOLVE_NATIVE=0"):
        plan_direct(ladder, method="simplicial")
