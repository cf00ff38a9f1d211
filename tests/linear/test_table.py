"""Linear solves in one table: solvers x matrices x dtypes x transformations, compared with dense NumPy algebra.

Every solver meets every transformation once, in float64 on one matrix (the Krylov methods, which differ in the
iteration only, share them); the other axes are covered by pairs: every solver with its matrices, each in another dtype,
so that all solvers and all matrices meet all dtypes too. Solvers
inside `shard_map` run in a process of their own with two devices. Programs are tiny and compiled without optimization.
"""

import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsesolve import _native
from tests.linear.table import DTYPES, SOLVERS, Derivatives, arrays, close, problem, reference, tolerance

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _portable(request, monkeypatch):
    name = request.node.callspec.params.get("name") if hasattr(request.node, "callspec") else None
    if name is not None and not SOLVERS[name].native:
        monkeypatch.setenv("SPARSESOLVE_NATIVE", "0")
    elif name is not None and name.startswith("lu") and not _native.available():
        pytest.skip(_native.status())


def _setting(name, matrix=None, dtype=np.float64):
    entry = SOLVERS[name]
    p = problem(matrix or ("general" if "general" in entry.matrices else entry.matrices[0]), dtype)
    rtol, compared = tolerance(entry, dtype)
    solver = entry.make(rtol)
    return p, lambda data, b: p.solve(solver, data, b), compared


def compiled(function):
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


def by_jit(p, solve):
    data, b = arrays(p.data, p.b)
    return compiled(solve)(data, b), reference(p, data, b)


def by_vmap_over_values(p, solve):
    data, _ = arrays(*p.direction(1, (3,)))
    return compiled(jax.vmap(solve, (0, None)))(data, *arrays(p.b)), reference(p, data, p.b)


def by_vmap_over_right_hand_sides(p, solve):
    _, b = arrays(*p.direction(2, (3,)))
    return compiled(jax.vmap(solve, (None, 0)))(*arrays(p.data), b), reference(p, p.data, b)


def by_nested_vmap(p, solve):
    data, _ = arrays(*p.direction(3, (2,)))
    _, b = arrays(*p.direction(4, (3,)))
    every = jax.vmap(jax.vmap(solve, (None, 0)), (0, None))
    return compiled(every)(data, b), reference(p, np.asarray(data)[:, None], np.asarray(b)[None])


def by_jvp(p, solve):
    change, db = p.direction(5)
    tangent = compiled(lambda point, along: jax.jvp(solve, point, along)[1])(arrays(p.data, p.b), arrays(change, db))
    return tangent, Derivatives.of(p, change, db, p.b).tangent


def by_vjp_and_its_jvp(p, solve):
    change, db = p.direction(5)
    w = db[::-1].copy()

    def along(point, direction, w):
        return jax.jvp(lambda *q: jax.vjp(solve, *q)[1](w), point, direction)

    first, second = compiled(along)(arrays(p.data, p.b), arrays(change, db), *arrays(w))
    expected = Derivatives.of(p, change, db, w)
    return (*first, *second), (*expected.cotangents, *expected.second)


def by_transpose(p, solve):
    data, b = arrays(p.data, p.b)
    (found,) = compiled(lambda d, w: jax.linear_transpose(lambda v: solve(d, v), b)(w))(data, b)
    return found, np.linalg.solve(p.dense(p.data).T, p.b)


def _scale(p):
    return np.abs(np.linalg.inv(p.dense(p.data))).sum(axis=1).max()


def by_scan_with_cond(p, solve):
    """Three steps with other values each; the second one does not solve."""
    scale = _scale(p)
    datas = np.stack([p.data, 2 * p.data, 3 * p.data])
    flags = jnp.array([True, False, True])

    def run(datas, b):
        def body(x, step):
            flag, data = step
            return jax.lax.cond(flag, lambda d, v: solve(d, v) / scale, lambda d, v: -v, data, x), None

        return jax.lax.scan(body, b, (flags, datas))[0]

    return compiled(run)(*arrays(datas, p.b)), -_power(p, 2) / 3


def by_while(p, solve):
    scale = _scale(p)

    def run(data, b):
        def body(state):
            return state[0] + 1, solve(data, state[1]) / scale

        return jax.lax.while_loop(lambda state: state[0] < 3, body, (0, b))[1]

    return compiled(run)(*arrays(p.data, p.b)), _power(p, 3)


def _power(p, count):
    x, scale = p.b, _scale(p)
    for _ in range(count):
        x = np.linalg.solve(p.dense(p.data), x) / scale
    return x


TRANSFORMATIONS = {
    function.__name__.removeprefix("by_").replace("_", " "): function
    for function in (
        by_jit,
        by_vmap_over_values,
        by_vmap_over_right_hand_sides,
        by_nested_vmap,
        by_jvp,
        by_vjp_and_its_jvp,
        by_transpose,
        by_scan_with_cond,
        by_while,
    )
}


FEW = ("jit", "vmap over values", "vjp and its jvp")
MEETINGS = [(name, t) for name, entry in SOLVERS.items() for t in TRANSFORMATIONS if entry.whole or t in FEW]


@pytest.mark.parametrize(("name", "transformation"), MEETINGS)
def test_every_solver_under_every_transformation(name, transformation):
    p, solve, rtol = _setting(name)
    close(*TRANSFORMATIONS[transformation](p, solve), rtol)


PAIRS = [
    (name, matrix, DTYPES[(i + j) % 4], ("jit", "jit", "vmap over values")[(i + j) % 3])
    for i, (name, entry) in enumerate(SOLVERS.items())
    for j, matrix in enumerate(entry.matrices)
]


@pytest.mark.parametrize(
    ("name", "matrix", "dtype", "transformation"), PAIRS, ids=[f"{n}-{m}-{np.dtype(d)}-{t}" for n, m, d, t in PAIRS]
)
def test_every_solver_with_every_matrix(name, matrix, dtype, transformation):
    p, solve, rtol = _setting(name, matrix, dtype)
    found, expected = TRANSFORMATIONS[transformation](p, solve)
    assert all(np.asarray(leaf).dtype == dtype for leaf in jax.tree.leaves(found))
    close(found, expected, rtol)


def test_inside_shard_map():
    """One row of a batch on each of two devices: every solver, forwards and its gradient (`check_vma=False`)."""
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_ENABLE_X64": "1"}
    command = [sys.executable, "-m", "tests.linear.shard_map_solves"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == dict.fromkeys(SOLVERS, "")
