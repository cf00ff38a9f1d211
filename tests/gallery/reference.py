"""Independent ways to the answers: a dense Newton iteration in NumPy, and Chebyshev collocation for Bratu."""

import jax
import numpy as np
from jax.flatten_util import ravel_pytree


def dense_newton(problem, max_steps=20, tolerance=1e-10):
    """The answer of a small problem by dense Newton steps with halving, and the number of steps."""
    y0, unravel = ravel_pytree(problem.y0)
    residual = jax.jit(lambda y: ravel_pytree(problem.residual(unravel(y), problem.args))[0])
    jacobian = jax.jit(jax.jacfwd(residual))
    y, r = np.asarray(y0), np.asarray(residual(y0))
    for step in range(max_steps):
        norm = np.linalg.norm(r)
        if norm < tolerance:
            return jax.tree.map(np.asarray, unravel(y)), step
        direction, length = np.linalg.solve(np.asarray(jacobian(y)), r), 1.0
        while np.linalg.norm(trial := np.asarray(residual(y - length * direction))) > norm and length > 1e-3:
            length /= 2
        y, r = y - length * direction, trial
    raise AssertionError(f"no convergence in {max_steps} steps: {norm:.1e}")


def bratu_maximum(dimension, lam, degree):
    """`max(u)` of the lower Bratu solution by Chebyshev collocation of an even degree, using its symmetry."""
    second = _even_second_derivative(degree)
    k = len(second)
    laplacian = np.zeros((k**dimension, k**dimension))
    for axis in range(dimension):
        factors = [second if i == axis else np.eye(k) for i in range(dimension)]
        product = np.ones((1, 1))
        for factor in factors:
            product = np.kron(product, factor)
        laplacian += product
    u = np.zeros(k**dimension)
    for _ in range(20):
        reaction = lam * np.exp(u)
        step = np.linalg.solve(laplacian + np.diag(reaction), -(laplacian @ u + reaction))
        u = u + step
        if np.max(np.abs(step)) < 1e-12:
            return u.max()
    raise AssertionError(f"collocation did not converge for lam={lam}")


def _even_second_derivative(degree):
    """d^2/dx^2 on the unit interval for functions even about its middle that vanish at the ends (Trefethen 2000)."""
    x = np.cos(np.pi * np.arange(degree + 1) / degree)
    weights = np.r_[2.0, np.ones(degree - 1), 2.0] * (-1.0) ** np.arange(degree + 1)
    differences = x[:, None] - x[None, :] + np.eye(degree + 1)
    first = np.outer(weights, 1 / weights) / differences
    first -= np.diag(first.sum(axis=1))
    second = 4 * (first @ first)[1:-1, 1:-1]
    half = degree // 2  # inner nodes degree - 1, the middle one is its own mirror image
    folded = second[:half, :half].copy()
    folded[:, : half - 1] += second[:half, ::-1][:, : half - 1]
    return folded
