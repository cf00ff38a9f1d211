"""The pieces of a plan by themselves: minimum cut, layouts, contributions, boundary parameters."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings, strategies as st

from sparsesolve.jacobian._contributions import count_contributions, expand
from sparsesolve.jacobian._decompress import decompress, plan_layout, source_tables, weight_tables
from sparsesolve.jacobian._flow import smallest_core
from sparsesolve.jacobian._peel import Peeling
from sparsesolve.jacobian._program import trace_program
from sparsesolve.pattern import SparsityPattern
from tests.jacobian.problems import TRIANGLES, brusselator, finite_elements, normal


def program_of(f, x, *parameters):
    return trace_program(lambda xs, ps: ([f(*xs, *ps)], []), [x], list(parameters))


def test_minimum_cut_of_a_diamond():
    """0 -> a; 1, 2 read a and write b, c; 3 reads b, c and writes d. Cutting the narrow `a` beats cutting b and c."""
    reads, writes = [[], [0], [0], [1, 2]], [[0], [1], [2], [3]]
    linear = [False, True, True, True]
    assert smallest_core(reads, writes, linear, [5, 9, 9, 20], [3]).tolist() == [True, False, False, False]
    assert smallest_core(reads, writes, linear, [50, 9, 9, 20], [3]).tolist() == [True, True, True, False]
    assert smallest_core(reads, writes, linear, [50, 19, 9, 20], [3]).tolist() == [True, True, True, True]


def test_nonlinear_equations_keep_what_they_read_in_the_core():
    reads, writes = [[], [0], [1]], [[0], [1], [2]]
    assert smallest_core(reads, writes, [False, True, False], [1, 1, 9], [2]).all()


def test_ties_give_the_smaller_core():
    assert smallest_core([[], [0]], [[0], [1]], [False, True], [4, 4], [1]).tolist() == [True, False]


def test_core_of_the_brusselator_is_one_product():
    peeling = Peeling(program_of(brusselator, normal(2, 5, 4)))
    assert [v.aval.shape for v in peeling.cut_outputs] == [(5, 4)]


def test_core_of_finite_elements_is_local_to_elements():
    peeling = Peeling(program_of(finite_elements, normal(40)))
    (output,) = peeling.cut_outputs
    # The flux (two components) is handed over, not the three corner values or the assembled residual.
    assert output.aval.shape == (TRIANGLES.shape[0], 2)


def test_slices_of_one_flux_are_cut_before_the_slices():
    def f(u):
        flux = u**3
        return flux[1:] - flux[:-1]

    peeling = Peeling(program_of(f, normal(9)))
    assert [v.aval.shape for v in peeling.cut_outputs] == [(9,)]


def test_boundary_parameters_are_stored_before_they_are_widened():
    program = program_of(lambda u, nu: jnp.exp(nu) * u**2, normal(9), jnp.asarray(0.5))
    assert [v.aval.shape for v in program.boundary] == [()]


def test_calls_to_jit_are_inlined():
    program = program_of(lambda u: jax.jit(jnp.roll, static_argnums=1)(u, 1), normal(4))
    assert "jit" not in {eqn.primitive.name for eqn in program.jaxpr.eqns}


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 11), min_size=1, max_size=60), st.integers(0, 2**31), st.booleans())
def test_layouts_sum_all_contributions(slots, seed, unit):
    """Against `numpy.add.at`, with few and many contributions and entries without any."""
    rng = np.random.default_rng(seed)
    slot = np.sort(np.asarray(slots, np.int64))
    source = rng.integers(0, 20, slot.size)
    weights = np.ones(slot.size) if unit else rng.normal(size=slot.size)
    values, constant = rng.normal(size=20), rng.normal(size=12)
    layout = plan_layout(slot, 12)
    tables = {"sources": source_tables(layout, source, 20), "slots": layout.slots, "order": layout.order}
    ours = decompress(layout, [jnp.asarray(values)], np.float64, tables, weight_tables(layout, weights), constant)
    expected = constant.copy()
    np.add.at(expected, slot, weights * values[source])
    np.testing.assert_allclose(ours, expected, atol=1e-13)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(0, 2**31))
def test_contributions_are_the_triple_product(seed):
    rng = np.random.default_rng(seed)
    b, core, a = (rng.normal(size=shape) * (rng.uniform(size=shape) < 0.4) for shape in ((5, 4), (4, 6), (6, 3)))
    patterns = [SparsityPattern.from_dense(matrix) for matrix in (b, core, a)]
    product = SparsityPattern.from_dense((b != 0).astype(int) @ (core != 0) @ (a != 0))
    addresses = np.arange(patterns[1].nnz)
    found = expand(product, patterns[1], addresses, patterns[0], patterns[2])
    assert found.slot.size == count_contributions(patterns[1], patterns[0], patterns[2])
    data = np.zeros(product.nnz)
    values = [matrix[p.rows, p.indices] for matrix, p in zip((b, core, a), patterns, strict=True)]
    np.add.at(data, found.slot, values[0][found.tail] * values[1][found.source] * values[2][found.head])
    np.testing.assert_allclose(data, (b @ core @ a)[product.rows, product.indices], atol=1e-12)
