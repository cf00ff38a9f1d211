"""AMG: steps independent of mesh and c, refreshed values, transposed cycle, transformations, refused input."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

import sparsesolve as ss
from sparsesolve import _native
from sparsesolve.krylov import gmres
from tests.precond.problems import cg_steps, grid_laplacian, mesh_laplacian, shifted

LAPLACIANS = {
    "2-D": lambda: grid_laplacian(150, 140),
    "3-D": lambda: grid_laplacian(24, 22, 20),
    "mesh": lambda: mesh_laplacian(90),
}


@pytest.mark.parametrize("name", LAPLACIANS)
def test_under_ten_steps_whatever_the_mesh_and_c_with_one_plan(name):
    laplacian = LAPLACIANS[name]()
    sample = shifted(laplacian, 1.0)
    amg = ss.AMG().prepare(sample.pattern, sample.data)
    for c in (1.0, 100.0, 1e4):
        A = shifted(laplacian, c)
        assert cg_steps(A, amg(A)) < 10


def test_w_cycles_and_higher_degrees_take_no_more_steps():
    A = shifted(mesh_laplacian(60), 1e4)
    steps = [cg_steps(A, amg(A)) for amg in (ss.AMG(2), ss.AMG(4), ss.AMG(2, cycle="W"))]
    assert steps[0] > steps[1] and steps[2] <= steps[0]


def test_weak_couplings_are_not_interpolated():
    line, other = grid_laplacian(60), grid_laplacian(50)
    A = ss.SparseMatrix.from_scipy(sp.kronsum(1e-3 * line, other, format="csr"))
    assert cg_steps(A, ss.AMG()(A)) < 15
    assert cg_steps(A, ss.AMG(strength=0.0)(A)) > 30


def test_the_sample_decides_the_plan_not_the_size_of_its_diagonal():
    laplacian = grid_laplacian(30, 30)
    plans = [ss.AMG().prepare(A.pattern, A.data).plan for A in (shifted(laplacian, 1.0), shifted(laplacian, 1e4))]
    assert plans[0] == plans[1] and plans[0].sizes[0] == 900


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_all_types(dtype):
    A = shifted(grid_laplacian(20, 20), 10.0).astype(dtype)
    if dtype.startswith("complex"):
        A = A.shifted(jnp.asarray(0.3j, dtype))
    operator = ss.AMG(max_coarse=40)(A)
    b = jnp.ones(400, dtype)
    x, info = gmres(lambda v: A @ v, b, precondition=operator.mv, rtol=1e-5, restart=20)
    assert x.dtype == dtype and info.converged and info.num_steps < 10


def convection(n, velocity):
    """Upwind convection-diffusion along the diagonal of a square, mesh width 1."""
    upwind = sp.diags_array([-velocity * np.ones(n - 1), velocity * np.ones(n)], offsets=[-1, 0])
    return sp.csr_matrix(grid_laplacian(n, n) + sp.kronsum(upwind, upwind))


def test_convection_diffusion_by_gmres_and_its_transpose():
    A = ss.SparseMatrix.from_scipy(convection(50, 0.5))
    operator = ss.AMG()(A)
    b = jnp.ones(A.shape[0])
    _, info = gmres(lambda v: A @ v, b, precondition=operator.mv, rtol=1e-8, restart=40)
    assert info.converged and info.num_steps < 20
    _, turned = gmres(lambda v: v @ A, b, precondition=operator.T.mv, rtol=1e-8, restart=40)
    assert turned.converged and abs(int(turned.num_steps) - int(info.num_steps)) <= 2


@pytest.mark.parametrize("cycle", ["V", "W"])
def test_the_transposed_cycle_is_the_transpose(cycle):
    for matrix in (convection(12, 0.7), grid_laplacian(12, 12)):
        A = ss.SparseMatrix.from_scipy(matrix)
        operator = ss.AMG(cycle=cycle, max_coarse=8)(A)
        dense = operator.as_matrix()
        scale = float(jnp.abs(dense).max())
        assert len(operator.application.plan.levels) >= 2
        np.testing.assert_allclose(operator.T.as_matrix(), dense.T, atol=1e-13 * scale)
    np.testing.assert_allclose(dense, dense.T, atol=1e-13 * scale)  # symmetric for a symmetric matrix
    assert np.linalg.eigvalsh(np.asarray(dense)).min() > 0


@pytest.mark.skipif(not _native.available(), reason=_native.status())
def test_compiled_and_portable_cycles_agree():
    A = ss.SparseMatrix.from_scipy(convection(16, 0.7))
    v = jnp.linspace(-1.0, 2.0, 256)
    native, portable = (ss.AMG(max_coarse=50, backend=backend)(A) for backend in ("native", "portable"))
    np.testing.assert_allclose(native.mv(v), portable.mv(v), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(native.T.mv(v), portable.T.mv(v), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(native.mv(v + 2j * v), (1 + 2j) * native.mv(v), rtol=1e-11)


def test_refreshed_inside_jit_equals_refreshed_outside():
    A = shifted(grid_laplacian(25, 25), 3.0)
    amg = ss.AMG(max_coarse=40).prepare(A.pattern, A.data)
    b = jnp.arange(625.0)

    @eqx.filter_jit
    def apply(amg, data):
        return amg(ss.SparseMatrix(data, A.pattern)).mv(b)

    B = shifted(grid_laplacian(25, 25), 50.0)
    np.testing.assert_allclose(apply(amg, B.data), amg(B).mv(b), rtol=1e-12)
    assert float(jnp.linalg.norm(apply(amg, B.data) - apply(amg, A.data))) > 1.0


def test_without_a_sample_under_a_trace_all_entries_are_strong():
    A = shifted(grid_laplacian(30, 30), 1e3)
    operator = jax.jit(lambda data: ss.AMG()(ss.SparseMatrix(data, A.pattern)))(A.data)
    assert operator.application.plan.sizes[1] < 200
    assert cg_steps(A, operator) < 10


def test_vmap_over_values():
    laplacian = grid_laplacian(20, 20)
    A = shifted(laplacian, 1.0)
    amg = ss.AMG(max_coarse=40).prepare(A.pattern, A.data)
    data = jnp.stack([shifted(laplacian, c).data for c in (1.0, 20.0, 3e3)])
    b = jnp.linspace(0.0, 1.0, 400)
    many = jax.jit(jax.vmap(lambda d: amg(ss.SparseMatrix(d, A.pattern)).mv(b)))(data)
    for row, values in zip(many, data, strict=True):
        np.testing.assert_allclose(row, amg(ss.SparseMatrix(values, A.pattern)).mv(b), rtol=1e-9)


def coupled(n, interleaved):
    """Two diffusing species with a reaction between them, `I - h J`."""
    laplacian = grid_laplacian(n, n)
    reaction = np.array([[2.0, 1.0], [-3.0, 1.5]])
    diffusion = np.diag([30.0, 3.0])
    if interleaved:
        return sp.csr_matrix(sp.kron(laplacian, diffusion) + sp.kron(sp.eye_array(n * n), reaction))
    return sp.csr_matrix(sp.kron(diffusion, laplacian) + sp.kron(reaction, sp.eye_array(n * n)))


@pytest.mark.parametrize("how", ["count", "interleaved", "labels"])
def test_systems_have_aggregates_per_field(how):
    A = ss.SparseMatrix.from_scipy(coupled(40, how == "interleaved"))
    fields = np.arange(3200) // 1600 if how == "labels" else 2
    amg = ss.AMG(fields=fields, interleaved=how == "interleaved").prepare(A.pattern, A.data)
    _, info = gmres(lambda v: A @ v, jnp.ones(3200), precondition=amg(A).mv, rtol=1e-8)
    assert info.converged and info.num_steps < 14


def test_fields_are_the_leaves_of_a_detected_pattern():
    def residual(y, args):
        u, v = y
        pad = jnp.pad(u, 1)
        return 4 * u - pad[:-2, 1:-1] - pad[2:, 1:-1] - pad[1:-1, :-2] - pad[1:-1, 2:] + v, 2 * v - u

    pattern = ss.detect_sparsity(residual, (jnp.zeros((20, 20)), jnp.zeros((20, 20))), None)
    assert ss.AMG().prepare(pattern).plan.sizes[1] < 120  # v has no neighbours within its field: smoothing alone


def test_patterns_without_symmetry_or_diagonal_entries_are_completed():
    dense = np.triu(np.asarray(shifted(grid_laplacian(15, 15), 1.0).todense()))
    A = ss.SparseMatrix.from_dense(dense)
    assert ss.AMG(max_coarse=20)(A).mv(jnp.ones(225)).shape == (225,)
    _, info = gmres(lambda v: A @ v, jnp.ones(225), precondition=ss.AMG(max_coarse=20)(A).mv, rtol=1e-8)
    assert info.converged


def test_a_singular_neumann_problem_gives_finite_corrections():
    laplacian = grid_laplacian(20, 20)
    neumann = sp.csr_matrix(laplacian - sp.diags_array(np.asarray(laplacian.sum(axis=1)).ravel()))
    A = ss.SparseMatrix.from_scipy(neumann)
    b = np.random.default_rng(0).standard_normal(400)
    _, info = gmres(lambda v: A @ v, jnp.asarray(b - b.mean()), precondition=ss.AMG(max_coarse=30)(A).mv, rtol=1e-8)
    assert info.converged and info.num_steps < 15


@pytest.mark.parametrize("n", [1, 5])
def test_tiny_and_diagonal_matrices_are_solved_exactly(n):
    A = ss.SparseMatrix.from_dense(np.diag(np.arange(1.0, n + 1)))
    np.testing.assert_allclose(ss.AMG(max_coarse=1)(A).mv(jnp.ones(n)), 1 / np.arange(1.0, n + 1), rtol=1e-12)


def test_the_whole_solve_lowers_for_cuda():
    A = shifted(grid_laplacian(20, 20), 10.0)
    amg = ss.AMG(max_coarse=40, backend="portable").prepare(A.pattern, A.data)

    def solve(amg, data, b):
        operator = amg(ss.SparseMatrix(data, A.pattern))
        return gmres(lambda v: ss.SparseMatrix(data, A.pattern) @ v, b, precondition=operator.mv, rtol=1e-8)[0]

    jax.jit(solve).trace(amg, A.data, jnp.ones(400)).lower(lowering_platforms=("cuda",))


def test_unsuitable_arguments_are_refused_with_a_sentence():
    A = shifted(grid_laplacian(10, 10), 1.0)
    for arguments, text in (
        ({"cycle": "F"}, "write 'V' or 'W'"),
        ({"degree": 0}, "at least 1"),
        ({"strength": 2.0}, "between 0 and 1"),
        ({"fields": 0}, "at least one field"),
        ({"fields": np.zeros((2, 3))}, "one integer for each unknown"),
        ({"backend": "cuda"}, "'auto', 'native' or 'portable'"),
    ):
        with pytest.raises(ValueError, match=text):
            ss.AMG(**arguments)
    for amg, pattern, sample, text in (
        (ss.AMG(), ss.SparsityPattern.from_dense(np.ones((3, 4))), None, "square"),
        (ss.AMG(), A.pattern, np.ones(7), "in CSR order"),
        (ss.AMG(), A.pattern, np.full(A.nnz, np.nan), "not finite"),
        (ss.AMG(fields=3), A.pattern, None, "not a multiple"),
        (ss.AMG(fields=np.arange(7)), A.pattern, None, "one for each unknown"),
    ):
        with pytest.raises(ValueError, match=text):
            amg.prepare(pattern, sample)
    with pytest.raises(ValueError, match="lacks"):
        ss.AMG().prepare(ss.SparsityPattern.from_dense(np.eye(100)))(A)
