"""The prepared system M y' = f(t, y): its Jacobian, W, factors and the parts that are computed once."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest

from sparsesolve.jacobian import SparseJacobian
from sparsesolve.matrix import SparseMatrix
from sparsesolve.ode.newton._kept import Kept, keep
from sparsesolve.ode.system._mass import as_matrix
from sparsesolve.ode.system._real import RealStructure
from sparsesolve.ode.system._system import prepare_system
from sparsesolve.ode.system._weights import scaled_norm, tolerance_weights


def reaction(t, y, a):
    u, v = y["u"], y["v"]
    lap = jnp.roll(u, 1) + jnp.roll(u, -1) - 2 * u
    return {"u": a * lap * jnp.cos(t) + jnp.abs(v) ** 2 * u, "v": -u * u * v + 1j * (jnp.roll(v, 1) - v)}


STATE = {"u": jnp.linspace(0.0, 1.0, 7), "v": jnp.linspace(1.0, 2.0, 7) + 0.5j}


def dense(system, data):
    return SparseMatrix(data, system.plan.pattern).todense()


def test_jacobian_of_a_complex_state_that_is_not_holomorphic():
    system = prepare_system(dfx.ODETerm(reaction), 0.0, STATE, 2.0)
    x = system.structure.ravel(STATE)
    expected = jax.jacfwd(lambda z: system.rhs(0.3, z))(x)
    found = system.jacobian(jnp.asarray(0.3), x)
    np.testing.assert_allclose(dense(system, found), expected, atol=1e-14)
    assert system.size == 21 and system.dtype == np.float64


def test_invariants_of_one_time_serve_all_times():
    system = prepare_system(
        dfx.ODETerm(lambda t, y, a: jnp.cos(t) * a * (jnp.roll(y, 1) - y) + a * y**3), 0.0, y7(), 2.0
    )
    x = y7()
    once = system.invariants(jnp.asarray(0.0), x)
    for t in (0.0, 1.0):
        expected = jax.jacfwd(lambda z: system.rhs(t, z))(x)  # noqa: B023
        found = dense(system, system.jacobian(jnp.asarray(t), x, once))
        np.testing.assert_allclose(found, expected, atol=1e-14)
    assert any(system.plan.varying)
    a = jnp.asarray(2.0)
    plain = prepare_system(dfx.ODETerm(lambda t, y, a: a * (jnp.roll(y, 1) - y) + t * jnp.sin(y)), 0.0, y7(), a)
    assert not all(plain.plan.varying)


def y7():
    return jnp.linspace(0.0, 1.0, 7)


@pytest.mark.parametrize("factor", [0.1, 0.1 + 0.2j])
def test_factor_and_solve_also_with_complex_shifts(factor):
    system = prepare_system(dfx.ODETerm(reaction), 0.0, STATE, 2.0)
    x = system.structure.ravel(STATE)

    @jax.jit
    def solve(x):
        jac = system.jacobian(jnp.asarray(0.0), x)
        return system.solve(system.factor(system.matrix(jac, 1.0, -factor)), x)[0]

    w = jnp.eye(21) - factor * jax.jacfwd(lambda z: system.rhs(0.0, z))(x)
    np.testing.assert_allclose(w @ solve(x), x, atol=1e-12)
    dtype = jnp.result_type(factor, x)
    zeros = system.no_factors(dtype)
    assert jax.tree.structure(zeros) == jax.tree.structure(system.factor(jnp.ones(system.plan.pattern.nnz, dtype)))


def test_mass_matrix_constant_and_function():
    y = y7()
    f = lambda t, y, a: -(y**2)  # noqa: E731
    coupling = np.eye(7) + np.eye(7, k=1)
    constant = prepare_system(dfx.ODETerm(f), 0.0, y, None, mass=coupling)
    varying = prepare_system(dfx.ODETerm(f), 0.0, y, None, mass=lambda t, y, a: jnp.diag(1 + t * y))
    t = jnp.asarray(2.0)
    jac = -2 * jnp.diag(y)
    w = dense(constant, constant.matrix(constant.jacobian(t, y), 2.0, -0.5))
    np.testing.assert_allclose(w, 2 * coupling - 0.5 * jac)
    assert constant.plan.pattern.nnz == 13
    np.testing.assert_allclose(constant.multiply_mass(y), coupling @ y)
    w = dense(varying, varying.matrix(varying.jacobian(t, y), 1.0, -0.5, t, y))
    np.testing.assert_allclose(w, jnp.diag(1 + 2 * y) - 0.5 * jac)
    with pytest.raises(ValueError, match=r"shape \(3, 3\) and the state has 7"):
        prepare_system(dfx.ODETerm(f), 0.0, y, None, mass=np.eye(3))


@pytest.mark.parametrize(("mass", "words"), [
    (2.0, r"type float and shape \(\)"),
    ("x", r"type str and shape \(\)"),
    (np.diag([1.0, np.nan]), "NaN or infinite"),
    (np.diag([1.0, 1j]), "dtype complex128"),
])  # fmt: skip
def test_what_is_no_mass_matrix_is_told(mass, words):
    with pytest.raises((TypeError, ValueError), match=words):
        as_matrix(mass)


def test_a_traced_diagonal_stays_sparse():
    found = []
    jax.make_jaxpr(lambda d: found.append(as_matrix(d).pattern) or d)(jnp.ones(5))
    assert found[0].nnz == 5


def test_a_second_trace_finds_the_plan():
    def make():
        return prepare_system(dfx.ODETerm(lambda t, y, a: a * y * jnp.roll(y, 1)), 0.0, y7(), 2.0).plan

    first = make()
    assert make() is first and isinstance(first.jacobian, SparseJacobian)


def test_time_derivative_and_backward_time():
    terms = dfx.ODETerm(lambda t, y, a: t**2 * y)
    system = prepare_system(terms, 0.0, y7(), None)
    np.testing.assert_allclose(system.rhs.with_time_derivative(jnp.asarray(3.0), y7())[1], 6 * y7())


def test_terms_that_are_not_time_are_refused():
    terms = dfx.ControlTerm(lambda t, y, a: jnp.ones((7, 2)), lambda t0, t1: jnp.ones(2))
    with pytest.raises(TypeError, match="control of these terms has shapes"):
        prepare_system(terms, 0.0, y7(), None)


def test_weights_and_norms():
    structure = RealStructure.of(STATE)
    x = structure.ravel(STATE)
    weights = structure.unravel(tolerance_weights(structure, 0.1, {"u": 1.0, "v": 2.0}, x, -x))
    np.testing.assert_allclose(weights["u"], 1 + 0.1 * STATE["u"])
    np.testing.assert_allclose(weights["v"].real, 2 + 0.1 * jnp.abs(STATE["v"]))
    ones = jnp.ones(structure.size)
    assert jnp.allclose(scaled_norm(optx.rms_norm, structure, x, ones), optx.rms_norm(STATE))
    assert jnp.allclose(scaled_norm(optx.max_norm, structure, x, ones), optx.max_norm(STATE))
    with pytest.raises(ValueError, match="A tolerance has 3 leaves and the state has 2"):
        tolerance_weights(structure, 0.1, [1.0, 2.0, 3.0], x)


def test_what_is_kept_survives_a_choice_only_inside_one_trace():
    def body(state):
        kept, y = state
        new = (keep(kept, kept.value + 1), y + 1)
        return jax.tree.map(lambda a, b: jnp.where(y < -1, a, b), new, state)

    kept, y = jax.jit(lambda s: jax.lax.fori_loop(0, 3, lambda i, s: body(s), s))((Kept(jnp.asarray(0)), 0.0))
    assert kept.value == 3 and y == 0.0
    outside = Kept(jnp.asarray(0))
    jax.vmap(lambda a: keep(outside, outside.value + a).value)(jnp.arange(3))
    assert int(outside.value) == 0
