"""Arguments of the checked solves that do not fit end in an error, never in a crash or a read outside.

`test_kernels.py` says how to run this file under the sanitizers.
"""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsesolve import _native
from sparsesolve._native._load import CHECKED, SIMPLICIAL_CHECKED, SIMPLICIAL_ONCE
from sparsesolve.direct import plan_direct
from sparsesolve.direct._simplicial import SimplicialPlan
from tests.direct import problems
from tests.direct.test_simplicial import block_triangular

pytestmark = pytest.mark.skipif(not _native.available(), reason=_native.status())

REFUSED = (ValueError, RuntimeError)  # what JAX makes of an error status
EXTREMES = [-(2**31), -1, 0, 1, 2, 4, 29, 30, 31, 1000, 2**31 - 1]
SIMPLICIAL = ("columns", "l_row", "u_row", "off_row", "l_runs", "blocks", "indptr", "indices", "row_order", "col_order")
ENTRIES = ("in_source", "in_row", "off_source")
FRONTS = ("fronts", "border", "parent_map", "row_order", "col_order", "indptr", "columns")
RESULTS = ("x", "errors", "counts")


@pytest.fixture(scope="module", params=[CHECKED, SIMPLICIAL_CHECKED, SIMPLICIAL_ONCE])
def call(request):
    """The name of a kernel, its tables by name in order, and its other operands."""
    pattern, values = problems.split(block_triangular(30))
    matching = np.arange(pattern.shape[0])
    if request.param == CHECKED:
        plan, names = plan_direct(pattern, method="multifrontal"), FRONTS
        tables = plan.tables._asdict()
    else:
        plan, names = SimplicialPlan(pattern, matching), SIMPLICIAL
        names = names if request.param == SIMPLICIAL_CHECKED else (*names[:3], *ENTRIES, *names[3:])
        tables = plan.tables._asdict() | {"indices": pattern.indices}
    factors = [] if request.param == SIMPLICIAL_ONCE else [np.array(x) for x in plan.factor(jnp.asarray(values))]
    tables = {name: np.array(tables[name], np.int32) for name in names}
    return request.param, tables, [*factors, values, np.ones(pattern.shape[0])]


def run(name, tables, operands, members=None, results=None):
    """One call, alone or with `members` copies of values and right-hand side."""
    lead = () if members is None else (members,)
    shapes = results or {"x": (operands[-1].size,), "errors": (), "counts": (3,)}
    dtypes = (np.float64, np.float64, np.int32)
    structs = [jax.ShapeDtypeStruct((*lead, *shapes[k]), d) for k, d in zip(RESULTS, dtypes, strict=True)]
    expand = (None,) * len(lead)
    many = [np.stack([x] * members) if members else x for x in operands[-2:]]
    given = [*(t[expand] for t in tables.values()), *(x[expand] for x in operands[:-2]), *many]
    flags = {"transpose": np.bool_(False), "refinements": np.int64(3), "steps": np.int64(5)}
    return jax.block_until_ready(jax.ffi.ffi_call(name, structs)(*given, **flags))


def both(name, tables, operands):
    """How often a call alone and one of a batch were refused."""
    refused = 0
    for members in (None, 9):
        try:
            run(name, tables, operands, members)
        except REFUSED as error:
            assert "sparsesolve: " in str(error)
            refused += 1
    return refused


def test_the_arguments_are_right_to_begin_with(call):
    name, tables, operands = call
    for members in (None, 9):
        _, errors, counts = run(name, tables, operands, members)
        assert np.max(errors) < 1e-15 and not counts.any()


@hypothesis.settings(deadline=None, max_examples=60, derandomize=True)
@hypothesis.given(data=st.data(), place=st.integers(0, 10**6), value=st.sampled_from(EXTREMES))
def test_any_number_in_any_table(call, data, place, value):
    name, tables, operands = call
    which = data.draw(st.sampled_from(sorted(tables)))
    changed = tables[which].copy()
    if changed.size:
        changed.flat[place % changed.size] = value
    both(name, tables | {which: changed}, operands)


def test_operands_of_other_sizes(call):
    name, tables, operands = call
    for i in range(len(operands)):
        assert both(name, tables, [x[:-1] if i == j else x for j, x in enumerate(operands)]) == 2
    for which, table in tables.items():
        if table.size:
            assert both(name, tables | {which: table[:-1]}, operands) == 2
    n = operands[-1].size
    for results in ((n - 1,), (), (3,)), ((n,), (1,), (3,)), ((n,), (), (2,)):
        with pytest.raises(REFUSED, match="sparsesolve: "):
            run(name, tables, operands, None, dict(zip(RESULTS, results, strict=True)))
