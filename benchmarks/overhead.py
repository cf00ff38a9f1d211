"""What a direct solve costs besides arithmetic: a kernel call inside `jit`, and plan and compilation of a large matrix.

"1000 calls" is a loop of solves with a 4 x 4 matrix, so a thousandth of it is the cost of one call. "plan" leaves METIS
out, which has a column of its own; "compile" is that of factor, solve and checked solve together.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks._base import Benchmark, Case, Trial
from benchmarks._matrices import TOLERANCE, backward_error, matrix, right_hand_side
from benchmarks._pardiso import Pardiso

_CALLS = 1000
_LOOPS = ("sparsesolve", "klujax", "jax.pure_callback")
_PLANS = ("sparsesolve, plan", "PARDISO, analysis")


def cases(quick: bool) -> list[Case]:
    """The loop, and a five-point and a seven-point stencil with 2e5 unknowns (1e4 in the quick run)."""
    square, cube = (100, 20) if quick else (447, 58)
    planned = [("2-D", [square] * 2), ("3-D", [cube] * 3)]
    return [
        Case(f"{_CALLS} calls inside jit", {"calls": _CALLS}, _LOOPS),
        *(Case(f"plan, {kind}, n={int(np.prod(shape))}", {"shape": shape}, _PLANS) for kind, shape in planned),
    ]


def calls(calls: int) -> Trial:
    """Solves with native factors in a `fori_loop`."""
    import jax.numpy as jnp

    from sparsesolve.direct import plan_direct
    from sparsesolve.pattern import SparsityPattern

    a = _small()
    plan = plan_direct(SparsityPattern.from_scipy(a), method="multifrontal")
    factors = plan.factor(jnp.asarray(a.data))
    return _loop(calls, lambda x: plan.solve(factors, x))


def klujax_calls(calls: int) -> Trial:
    """`klujax.solve_with_numeric` in the same loop."""
    import jax.numpy as jnp
    import klujax as peer

    coo = _small().tocoo()
    rows, cols, values = (jnp.asarray(x) for x in (coo.row.astype(np.int32), coo.col.astype(np.int32), coo.data))
    symbolic = peer.analyze(rows, cols, 4)
    numeric = peer.factor(rows, cols, values, symbolic)
    trial = _loop(calls, lambda x: peer.solve_with_numeric(numeric, x, symbolic))
    run = trial.run
    trial.run = lambda: (run(), numeric, symbolic)[0]  # both free their memory when nobody holds them
    return trial


def callbacks(calls: int) -> Trial:
    """A NumPy solve in `jax.pure_callback`."""
    import jax

    inverse = np.linalg.inv(_small().toarray())

    def apply(x: Any) -> Any:
        return jax.pure_callback(lambda v: inverse @ np.asarray(v), jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    return _loop(calls, apply)


def _small() -> Any:
    return matrix("convection_diffusion", 4, velocity=0.0)


def _loop(count: int, solve: Any) -> Trial:
    """`count` solves, each scaled back so that the iterates stay finite."""
    import jax
    import jax.numpy as jnp

    def repeated(x: Any) -> Any:
        def step(_: Any, y: Any) -> Any:
            z = solve(y)
            return z / z[0]

        return jax.lax.fori_loop(0, count, step, x)

    start = jnp.ones(4)
    compiled = jax.jit(repeated).lower(start).compile()
    dense = _small().toarray()

    def check(x: Any) -> float:
        """Inverse iteration ends at an eigenvector."""
        x = np.asarray(x)
        y = np.linalg.solve(dense, x)
        return float(np.abs(y / y[0] - x).max())

    return Trial(lambda: jax.block_until_ready(compiled(start)), check, 1e-10, "error of the eigenvector")


def plan(shape: list[int]) -> Trial:
    """`plan_direct` with METIS's order remembered, and what it takes to compile for it."""
    import jax
    import jax.numpy as jnp

    import sparsesolve as ss
    from sparsesolve.direct import _ordering, plan_direct, solve_refined
    from sparsesolve.pattern import SparsityPattern

    a = matrix("convection_diffusion", *shape)
    b = right_hand_side(a)
    values, rhs = jnp.asarray(a.data), jnp.asarray(b)
    metis, orders, found = _ordering._metis, {}, {}

    def remembered(graph: Any) -> np.ndarray:
        key = (graph.shape[0], graph.nnz)
        if key not in orders:
            orders[key] = (metis(graph), graph)
        return orders[key][0]

    _ordering._metis = remembered

    def run() -> None:
        ss.clear_caches()
        found["plan"] = plan_direct(SparsityPattern.from_scipy(a))

    def order() -> None:
        for _, graph in orders.values():
            metis(graph)

    def compile_all() -> None:
        jax.clear_caches()
        plan = found["plan"]
        factors = jax.eval_shape(plan.factor, values)
        jax.jit(plan.factor).lower(values).compile()
        jax.jit(lambda f, r: plan.solve(f, r)).lower(factors, rhs).compile()
        jax.jit(lambda f, v, r: solve_refined(plan, f, v, r)).lower(factors, values, rhs).compile()

    def check(_: Any) -> float:
        made = found["plan"]
        x, _ = solve_refined(made, made.factor(values), values, rhs)
        return backward_error(a, x, b)

    run()  # METIS's share is remembered from here on
    return Trial(run, check, TOLERANCE, "backward error", parts={"compile": compile_all, "METIS": order})


def analysis(shape: list[int]) -> Trial:
    """PARDISO's phase 11, in which its METIS takes part."""
    a = matrix("convection_diffusion", *shape)
    b = right_hand_side(a)
    found: dict[str, Pardiso] = {}

    def run() -> None:
        if found:
            found.pop("solver").close()
        found["solver"] = Pardiso(a)

    def check(_: Any) -> float:
        found["solver"].factor()
        return backward_error(a, found["solver"].solve(b), b)

    return Trial(run, check, TOLERANCE, "backward error", notes={"run": "METIS included"})


BENCHMARK = Benchmark(
    "overhead",
    "kernel calls, plans, compilation",
    cases,
    {
        **dict(zip(_LOOPS, (calls, klujax_calls, callbacks), strict=True)),
        **dict(zip(_PLANS, (plan, analysis), strict=True)),
    },
    budget=5.0,
)
