"""Undocumented jaxpr layouts that the rules rely on. A JAX release that changes one must fail here, not elsewhere."""

import jax
import jax.experimental.sparse as jsparse
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.extend import source_info_util
from jax.sharding import AbstractMesh, AxisType, PartitionSpec as P

from sparsesolve.pattern._equation import RULES, inner_jaxpr
from sparsesolve.pattern._plan import Plan
from sparsesolve.pattern.rules._control_flow import scan_counts

X = jnp.arange(1.0, 5.0)


def equation(name, f, *args):
    """The first equation of that primitive in the jaxpr, at any depth."""

    def search(jaxpr):
        for eqn in inner_jaxpr(jaxpr)[0].eqns:
            if eqn.primitive.name == name:
                return eqn
            for value in eqn.params.values():
                for item in value if isinstance(value, tuple) else (value,):
                    found = search(item) if hasattr(item, "eqns") else None
                    if found is not None:
                        return found
        return None

    found = search(jax.make_jaxpr(f)(*args))
    assert found is not None, f"no equation {name!r}"
    return found


def test_jaxpr_and_equation_attributes():
    closed = jax.make_jaxpr(lambda x: jnp.sin(x) * X)(X)
    jaxpr, consts = inner_jaxpr(closed)
    assert len(jaxpr.constvars) == len(consts) == 1
    eqn = jaxpr.eqns[0]
    assert eqn.primitive.name == "sin" and not eqn.effects and eqn.primitive.multiple_results is False
    assert "test_contracts.py" in source_info_util.summarize(eqn.source_info)
    params = jaxpr.eqns[-1].primitive.get_bind_params(jaxpr.eqns[-1].params)
    assert isinstance(params, dict) or (isinstance(params, tuple) and len(params) == 2)


def test_scan_layout():
    eqn = equation("scan", lambda x: lax.scan(lambda c, a: (c * a * x[0], c), 1.0, x, reverse=True), X)
    assert scan_counts(eqn.params) == (1, 1)
    assert eqn.params["length"] == 4 and eqn.params["reverse"] is True
    assert [v.aval.shape for v in eqn.invars] == [(4,), (), (4,)] or [v.aval.shape for v in eqn.invars] == [
        (),
        (),
        (4,),
    ]
    assert [v.aval.shape for v in eqn.outvars] == [(), (4,)]


def test_while_layout_is_cond_body_carry():
    limit, factor = jnp.ones(2), jnp.ones(3)

    def f(x):
        return lax.while_loop(lambda c: c.sum() < (x[0] * limit).sum(), lambda c: c * (factor * x[1]).sum(), X)

    eqn = equation("while", f, X)
    num_cond, num_body = eqn.params["cond_nconsts"], eqn.params["body_nconsts"]
    assert len(eqn.invars) == num_cond + num_body + 1
    assert len(inner_jaxpr(eqn.params["cond_jaxpr"])[0].invars) == num_cond + 1
    assert len(inner_jaxpr(eqn.params["body_jaxpr"])[0].invars) == num_body + 1
    assert eqn.invars[-1].aval.shape == (4,)


def test_cond_layout_index_first():
    eqn = equation("cond", lambda x: lax.switch(x.sum().astype(int), [jnp.sin, jnp.cos, jnp.tan], x), X)
    assert len(eqn.params["branches"]) == 3
    assert eqn.invars[0].aval.shape == () and np.issubdtype(eqn.invars[0].aval.dtype, np.integer)


@pytest.mark.parametrize(
    ("name", "f"),
    [
        ("jit", lambda x: jax.jit(jnp.sin)(x)),
        ("custom_jvp_call", jax.nn.relu),
        ("remat2", lambda x: jax.checkpoint(jnp.sin)(x)),
    ],
)
def test_call_layout(name, f):
    eqn = equation(name, f, X)
    jaxpr = next(eqn.params[key] for key in ("jaxpr", "call_jaxpr") if key in eqn.params)
    assert len(inner_jaxpr(jaxpr)[0].invars) == len(eqn.invars)
    assert name in RULES


def test_custom_vjp_layout():
    f = jax.custom_vjp(lambda x, y: x * y)
    f.defvjp(lambda x, y: (x * y, (x, y)), lambda res, ct: (ct * res[1], ct * res[0]))
    eqn = equation("custom_lin", lambda x: jax.jvp(f, (x, x), (x, x))[1], X)
    assert eqn.params["num_res"] == 2
    assert len(eqn.invars) == 4
    assert callable(eqn.params["bwd"].call_wrapped)


def test_linear_solve_layout():
    eqn = equation("custom_linear_solve", lambda x: jnp.linalg.solve(jnp.diag(x), x), X)
    lengths, jaxprs = eqn.params["const_lengths"], eqn.params["jaxprs"]
    assert len(eqn.invars) == sum(lengths) + 1
    assert len(inner_jaxpr(jaxprs.matvec)[0].invars) == lengths.matvec + 1


def test_reshape_dimensions_transpose():
    eqn = equation("reshape", lambda x: lax.reshape(x, (4, 2), dimensions=(1, 0)), jnp.ones((2, 4)))
    assert eqn.params["dimensions"] == (1, 0)


def test_stack_and_unstack_are_primitives():
    assert equation("stack", lambda x: jnp.stack([x, x], 1), X).params["axis"] == 1
    assert equation("unstack", lambda x: jnp.unstack(x.reshape(2, 2), axis=1), X).params["axis"] == 1


def test_gather_and_scatter_numbers():
    eqn = equation("gather", lambda x: x[jnp.array([1, 0])], X)
    for name in ("offset_dims", "collapsed_slice_dims", "start_index_map", "operand_batching_dims"):
        assert hasattr(eqn.params["dimension_numbers"], name)
    assert "PROMISE" in str(eqn.params["mode"])
    eqn = equation("scatter-add", lambda x: x.at[jnp.array([1, 0])].add(1.0, mode="clip"), X)
    for name in ("update_window_dims", "inserted_window_dims", "scatter_dims_to_operand_dims", "operand_batching_dims"):
        assert hasattr(eqn.params["dimension_numbers"], name)
    assert "CLIP" in str(eqn.params["mode"])


def test_sparse_product_layouts():
    matrix = jnp.diag(X)
    coo, csr = jsparse.BCOO.fromdense(matrix), jsparse.BCSR.fromdense(matrix)
    eqn = equation("bcoo_dot_general", lambda x: coo @ x, X)
    assert [v.aval.shape for v in eqn.invars] == [(4,), (4, 2), (4,)]
    assert eqn.params["lhs_spinfo"].shape == (4, 4) and eqn.params["dimension_numbers"][0] == ((1,), (0,))
    eqn = equation("bcsr_dot_general", lambda x: csr @ x, X)
    assert [v.aval.shape for v in eqn.invars] == [(4,), (4,), (5,), (4,)]


def test_shard_map_layout():
    mesh = AbstractMesh((2,), ("i",), axis_types=(AxisType.Auto,))
    f = jax.shard_map(lambda a: a * lax.psum(a, "i"), mesh=mesh, in_specs=P("i"), out_specs=P("i"))
    eqn = equation("shard_map", f, X)
    assert set(eqn.params) >= {"mesh", "in_specs", "out_specs", "jaxpr", "newly_manual_axes"}
    assert eqn.params["in_specs"] == (P("i"),)
    inner = [e.primitive.name for e in inner_jaxpr(eqn.params["jaxpr"])[0].eqns]
    assert "psum_invariant" in inner


def test_window_layouts():
    x = X.reshape(2, 2)
    eqn = equation("reduce_window_max", lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 2), (1, 1), "SAME"), x)
    names = {"window_dimensions", "window_strides", "padding", "base_dilation", "window_dilation"}
    assert set(eqn.params) >= names


def test_plan_drops_dead_equations_and_frees_variables():
    jaxpr = inner_jaxpr(jax.make_jaxpr(lambda x: (jnp.cos(x), jnp.sin(x) * 2)[1])(X))[0]
    plan = Plan.of(jaxpr)
    assert [step.name for step in plan.steps] == ["sin", "mul"]
    assert jaxpr.invars[0] in plan.steps[0].dead
