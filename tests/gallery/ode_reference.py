"""An independent way to end values: SciPy's Radau on the raveled equations, with algebraic unknowns eliminated."""

import itertools

import jax
import numpy as np
import scipy.sparse as sp
from jax.flatten_util import ravel_pytree
from scipy.integrate import solve_ivp


def flat_functions(problem):
    """`(f, jacobian, y0, unravel)` on NumPy vectors, compiled."""
    y0, unravel = ravel_pytree(problem.y0)

    def f(t, y):
        return ravel_pytree(problem.rhs(t, unravel(y), problem.args))[0]

    compiled, jacobian = jax.jit(f), jax.jit(jax.jacfwd(f, argnums=1))
    return (lambda t, y: np.asarray(compiled(t, y))), (lambda t, y: np.asarray(jacobian(t, y))), np.asarray(y0), unravel


def radau(problem, rtol, sparse=False):
    """The end value of a problem without mass matrix, restarted at each jump."""
    f, jacobian, y, unravel = flat_functions(problem)
    jac = (lambda t, y: sp.csc_matrix(jacobian(t, y))) if sparse else jacobian
    atol = np.broadcast_to(problem.scale, np.shape(jax.tree.leaves(problem.y0)[0])).ravel() * rtol
    atol = atol if np.ptp(atol) else float(atol[0])
    stops = [problem.t0, *problem.jump_ts, problem.t1]
    for start, stop in itertools.pairwise(stops):
        inside = start if start == problem.t0 else np.nextafter(start, stop)
        end = stop if stop == problem.t1 else np.nextafter(stop, start)
        out = solve_ivp(f, (inside, end), y, method="Radau", jac=jac, rtol=rtol, atol=atol, t_eval=[end])
        assert out.success, out.message
        y = out.y[:, -1]
    return jax.tree.map(np.asarray, unravel(y))


def radau_dae(problem, rtol):
    """The end value of an index-1 problem `M y' = f`: an ODE in the range of `M`, the rest from `f` by Newton.

    With the singular value decomposition `M = U S V^T` the unknowns are `z = S V1^T y`, `z' = U1^T f`, and
    `U2^T f = 0` determines the others.
    """
    f, jacobian, y0, unravel = flat_functions(problem)
    left, values, right = np.linalg.svd(problem.mass)
    rank = int(np.sum(values > 1e-12 * values[0]))
    to_z = values[:rank, None] * right[:rank]

    def complete(t, z):
        y = complete.guess
        for _ in range(30):
            system = np.concatenate([to_z, left[:, rank:].T @ jacobian(t, y)])
            step = np.linalg.solve(system, np.concatenate([to_z @ y - z, left[:, rank:].T @ f(t, y)]))
            y = y - step / max(1.0, 2 * np.max(np.abs(step)))
            if np.max(np.abs(step)) < 1e-13 * np.max(np.abs(y)):
                break
        complete.guess = y
        return y

    complete.guess = y0

    def reduced(t, z):
        return left[:, :rank].T @ f(t, complete(t, z))

    size = np.abs(to_z) @ np.full(y0.size, problem.scale)
    out = solve_ivp(
        reduced, (problem.t0, problem.t1), to_z @ y0, method="Radau", rtol=rtol, atol=rtol * size, t_eval=[problem.t1]
    )
    assert out.success, out.message
    return unravel(complete(problem.t1, out.y[:, -1]))
