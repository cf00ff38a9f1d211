"""Jacobi, block Jacobi, lagged factors and field splits: what they invert, step counts, and how they are carried."""

import functools

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest

import sparsesolve as ss
from sparsesolve.precond._inverse import small_inverses
from sparsesolve.precond._tiles import tile_groups


@functools.cache
def brusselator_jacobian(n=8, shift=0.0):
    problem = ss.gallery.brusselator(n)
    J = jax.jit(ss.jacobian(problem.residual, problem.y0, problem.args))(problem.y0, problem.args)
    return J.shifted(-shift)  # as an implicit time step has it


def steps(A, preconditioner, rtol=1e-8):
    b = jnp.asarray(np.random.default_rng(0).standard_normal(A.shape[0]))
    solver = ss.GMRES(rtol=rtol, preconditioner=preconditioner)

    @jax.jit
    def solve(data):
        state = solver.init(ss.SparseLinearOperator(ss.SparseMatrix(data, A.pattern)), {})
        return solver.compute(state, b, {})

    _, result, stats = solve(A.data)
    assert result == lx.RESULTS.successful
    return int(stats["num_steps"])


def is_transposed(M):
    dense = M.as_matrix()
    np.testing.assert_allclose(M.T.as_matrix(), dense.T, rtol=1e-10, atol=1e-12 * float(jnp.max(jnp.abs(dense))))


@pytest.mark.parametrize("dtype", ["float64", "complex64"])
def test_small_inverses_exchange_rows_and_admit_singular_blocks(dtype):
    rng = np.random.default_rng(1)
    blocks = rng.standard_normal((6, 4, 4)) + (1j * rng.standard_normal((6, 4, 4)) if dtype[0] == "c" else 0)
    blocks[:, 0, 0] = 0.0  # a pivot that must be exchanged
    blocks[4, 1] = blocks[4, 2]
    blocks[5, 3, 3] = np.nan
    inverse, regular = small_inverses(jnp.asarray(blocks.transpose(1, 2, 0).astype(dtype)))
    np.testing.assert_array_equal(regular, [True] * 4 + [False] * 2)
    product = np.einsum("tij,jkt->tik", blocks[:4], np.asarray(inverse)[:, :, :4])
    np.testing.assert_allclose(product, np.broadcast_to(np.eye(4), (4, 4, 4)), atol=1e-3 if dtype[0] == "c" else 1e-11)


def test_tiles_partition_the_unknowns_and_follow_the_couplings():
    A = brusselator_jacobian(12)
    group = tile_groups(A.pattern, 8, None)
    sizes = np.bincount(group)
    assert sizes.max() <= 8 and sizes.size <= 1.25 * A.shape[0] / 8
    np.testing.assert_array_equal(group[:144], group[144:])  # both species of a point
    components = np.kron(np.eye(5), np.ones((3, 3)))
    np.testing.assert_array_equal(
        tile_groups(ss.SparsityPattern.from_dense(components), 8, None), np.repeat(range(5), 3)
    )
    # Along the strong direction of an anisotropic grid, where sample values show it.
    line = np.eye(16, k=1) + np.eye(16, k=-1)
    weak_rows = np.kron(np.eye(16), line) + 1e-3 * np.kron(line, np.eye(16)) + 5 * np.eye(256)
    matrix = ss.SparseMatrix.from_dense(jnp.asarray(weak_rows))
    group = tile_groups(matrix.pattern, 8, np.asarray(matrix.data))
    assert all(np.unique(np.flatnonzero(group == t) // 16).size == 1 for t in range(group.max() + 1))


def test_block_jacobi_inverts_its_tiles_and_is_transposable():
    A = brusselator_jacobian(6, shift=0.3)
    M = ss.BlockJacobi(4)(A)
    group = tile_groups(A.pattern, 4, None)
    same = group[:, None] == group[None, :]
    np.testing.assert_allclose(M.as_matrix(), np.linalg.inv(np.where(same, A.todense(), 0.0)), rtol=1e-9, atol=1e-12)
    is_transposed(M)


def test_a_singular_tile_falls_back_to_its_diagonal():
    dense = np.kron(np.diag([1.0, 0.0, 0.0]), [[2.0, 1.0], [1.0, 2.0]])
    dense[2:4, 2:4] = [[3.0, 3.0], [3.0, 3.0]]
    dense[4:, 4:] = [[np.inf, 1.0], [1.0, 5.0]]
    A = ss.SparseMatrix.from_dense(jnp.asarray(dense))
    expected = np.zeros((6, 6))
    expected[:2, :2] = np.linalg.inv(dense[:2, :2])
    expected[2:, 2:] = np.diag([1 / 3, 1 / 3, 1.0, 1 / 5])
    np.testing.assert_allclose(ss.BlockJacobi()(A).as_matrix(), expected, rtol=1e-12)
    np.testing.assert_allclose(ss.Jacobi()(A).as_matrix(), np.diag([0.5, 0.5, 1 / 3, 1 / 3, 1.0, 0.2]))


def test_step_counts_on_an_implicit_step_of_the_brusselator():
    A = brusselator_jacobian(12, shift=0.05)
    counts = {name: steps(A, P) for name, P in (("none", None), ("tiles", ss.BlockJacobi()), ("lu", ss.LaggedLU()))}
    assert counts["lu"] == 1
    assert counts["tiles"] <= 0.8 * counts["none"]
    assert steps(A, ss.FieldSplit(ss.LaggedLU())) <= 12


def test_lagged_factors_serve_drifted_matrices_and_need_no_entries():
    A = brusselator_jacobian(8, shift=0.2)
    lagged = ss.LaggedLU().prepare(A.pattern, A.data)
    assert not lagged.needs_matrix
    rng = np.random.default_rng(0)
    drifted = ss.SparseMatrix(A.data * (1 + 0.05 * rng.standard_normal(A.nnz)), A.pattern)
    assert 1 < steps(drifted, lagged) <= 15
    is_transposed(lagged(None))


def test_factors_sit_in_a_loop_carry_and_are_renewed_under_cond():
    A = brusselator_jacobian(6, shift=0.2)
    lagged = ss.LaggedLU().prepare(A.pattern)
    b = jnp.asarray(np.random.default_rng(0).standard_normal(A.shape[0]))

    @jax.jit
    def march(data):
        def body(carry, growth):
            operator, count = carry
            matrix = ss.SparseMatrix(data, A.pattern).shifted(-5.0 * growth)
            solver = ss.GMRES(rtol=1e-8, preconditioner=operator)
            _, _, stats = solver.compute(solver.init(ss.SparseLinearOperator(matrix), {}), b, {})
            slow = stats["num_steps"] > 4
            operator = jax.lax.cond(slow, lagged.factor, lambda _: operator, matrix)
            return (operator, count + slow), (stats["num_steps"], stats["relative_residual"])

        start = lagged.factor(ss.SparseMatrix(data, A.pattern)), jnp.asarray(0)
        return jax.lax.scan(body, start, jnp.linspace(0.0, 2.0, 12))

    (_, renewed), (counts, residuals) = march(A.data)
    assert 1 <= int(renewed) <= 6 and int(counts.max()) <= 12 and float(residuals.max()) <= 1e-8


def test_field_splits_are_what_they_say():
    rng = np.random.default_rng(3)
    dense = rng.standard_normal((6, 6)) + 5 * np.eye(6)
    A = ss.SparseMatrix.from_dense(jnp.asarray(dense))
    first, last = np.arange(6)[::2], np.arange(6)[1::2]
    for kind, blocks in (("additive", []), ("lower", [(last, first)]), ("upper", [(first, last)])):
        M = np.zeros((6, 6))
        for rows, cols in [(first, first), (last, last), *blocks]:
            M[np.ix_(rows, cols)] = dense[np.ix_(rows, cols)]
        for fields in (2, (first, last)):
            split = ss.FieldSplit(ss.LaggedLU(), fields=fields, kind=kind)(A)
            np.testing.assert_allclose(split.as_matrix(), np.linalg.inv(M), rtol=1e-10, atol=1e-12)
        is_transposed(split)


def test_the_schur_complement_makes_saddle_points_two_or_three_steps():
    rng = np.random.default_rng(3)
    dense = np.zeros((9, 9))
    dense[:6, :6] = np.diag(rng.uniform(1, 2, 6))
    dense[:6, 6:] = rng.standard_normal((6, 3))
    dense[6:, :6] = rng.standard_normal((3, 6))
    A = ss.SparseMatrix.from_dense(jnp.asarray(dense))
    fields = (np.arange(6), np.arange(6, 9))
    exact = ss.FieldSplit(ss.LaggedLU(), fields=fields, schur=True)
    assert steps(A, exact) <= 3
    S = -dense[6:, :6] @ np.diag(1 / np.diag(dense)[:6]) @ dense[:6, 6:]
    own = ss.FieldSplit((ss.Jacobi(), lambda v: jnp.linalg.solve(jnp.asarray(S), v)), fields=fields)
    assert steps(A, own) <= 3
    prepared = exact.prepare(A.pattern, A.data)
    is_transposed(prepared(A))


def test_wrong_fields_are_refused():
    A = ss.SparseMatrix.from_dense(jnp.eye(4))
    with pytest.raises(ValueError, match="exactly one field"):
        ss.FieldSplit(fields=([0, 1], [1, 2, 3]))(A)
    with pytest.raises(ValueError, match="1 field"):
        ss.FieldSplit()(A)
    with pytest.raises(ValueError, match="3 preconditioners for 2 fields"):
        ss.FieldSplit((ss.Jacobi(),) * 3, fields=2)(A)
    with pytest.raises(ValueError, match="kind='both'"):
        ss.FieldSplit(kind="both")
    with pytest.raises(ValueError, match="was prepared for a pattern"):
        ss.BlockJacobi().prepare(ss.SparsityPattern.from_dense(np.ones((4, 4))))(A)


@pytest.mark.parametrize("P", [ss.BlockJacobi(4), ss.FieldSplit(ss.BlockJacobi(4))], ids=["tiles", "fields"])
def test_under_vmap_and_for_cuda(P):
    A = brusselator_jacobian(4, shift=0.2)
    v = jnp.arange(1.0, A.shape[0] + 1)

    def apply(data):
        return P(ss.SparseMatrix(data, A.pattern)).mv(v)

    batch = jnp.stack([A.data, 2 * A.data, jnp.nan * A.data])
    out = jax.jit(jax.vmap(apply))(batch)
    np.testing.assert_allclose(out[0], 2 * out[1], rtol=1e-12)
    assert bool(jnp.all(jnp.isfinite(out[:2])))
    text = jax.jit(apply).trace(A.data).lower(lowering_platforms=("cuda",)).as_text()
    assert "custom_call" not in text.replace("custom_call @Sharding", "")
    assert float(jax.grad(lambda d: jnp.sum(apply(d)))(A.data).max()) == 0.0
