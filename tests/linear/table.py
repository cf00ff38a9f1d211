"""The axes of the table of linear solves: solvers, matrices, and dense NumPy algebra to compare with."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import lineax as lx
import numpy as np

import sparsesolve as ss
from sparsesolve import gallery, linear, precond
from sparsesolve.matrix import SparseLinearOperator, SparseMatrix
from sparsesolve.pattern import SparsityPattern
from tests.direct import problems

DTYPES = (np.float64, np.complex128, np.float32, np.complex64)


@dataclasses.dataclass(frozen=True)
class Entry:
    """A solver of the table: how to make it for a relative tolerance, which matrices it is meant for, which path."""

    make: Callable[[float], lx.AbstractLinearSolver]
    matrices: tuple[str, ...]
    native: bool = True
    exact: bool = True  # direct: answers to rounding
    whole: bool = True  # meets all transformations; the others share all but the iteration with one that does


def _krylov(name: str, **keywords: Any) -> Callable[[float], lx.AbstractLinearSolver]:
    def make(rtol: float) -> lx.AbstractLinearSolver:
        return getattr(linear, name)(rtol=rtol, max_steps=400, **keywords)

    return make


_ALL = ("general", "saddle point", "definite", "tridiagonal", "block diagonal", "permuted", "stencil")
_EASY = ("general", "definite", "tridiagonal", "block diagonal", "stencil")

SOLVERS = {
    "auto": Entry(lambda _: ss.AutoSparse(), _ALL),
    "lu": Entry(lambda _: ss.SparseLU(), _ALL),
    "lu, portable": Entry(lambda _: ss.SparseLU(), ("general", "saddle point", "definite", "permuted"), native=False),
    "banded": Entry(lambda _: ss.Banded(), _ALL),
    "cholesky": Entry(lambda _: ss.SparseCholesky(), ("definite",)),
}
SOLVERS |= {
    "gmres": Entry(_krylov("GMRES", restart=80), ("general", "saddle point", "permuted"), exact=False, whole=False),
    "gmres, jacobi": Entry(_krylov("GMRES", preconditioner=precond.Jacobi()), _EASY, exact=False),
    "bicgstab": Entry(_krylov("BiCGStab"), ("general", "stencil", "block diagonal"), exact=False, whole=False),
    "idr": Entry(_krylov("IDR"), ("general", "stencil", "tridiagonal"), exact=False, whole=False),
    "cg, jacobi": Entry(_krylov("CG", preconditioner=precond.Jacobi()), ("definite",), exact=False, whole=False),
}


@dataclasses.dataclass(frozen=True)
class Problem:
    """A matrix of the table with everything that tests vary."""

    pattern: SparsityPattern
    data: np.ndarray
    b: np.ndarray
    tags: frozenset[object]

    @property
    def num_unknowns(self) -> int:
        return self.pattern.shape[0]

    def dense(self, data: Any) -> np.ndarray:
        """In double precision."""
        data = np.asarray(data)
        out = np.zeros(self.pattern.shape, np.result_type(data, np.float64))
        out[self.pattern.rows, self.pattern.indices] = data
        return out

    def entries(self, outer: np.ndarray) -> np.ndarray:
        """The values of a dense matrix on the pattern."""
        return outer[self.pattern.rows, self.pattern.indices]

    def solve(self, solver: lx.AbstractLinearSolver, data: Any, b: Any) -> Any:
        """With the package, traced."""
        operator = SparseLinearOperator(SparseMatrix(data, self.pattern), self.tags)
        return lx.linear_solve(operator, b, solver).value

    def direction(self, seed: int, batch: tuple[int, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
        """A change of values and of the right-hand side, which keeps a definite matrix definite."""
        rng = np.random.default_rng(seed)
        scale = rng.uniform(0.5, 1.5, (*batch, self.num_unknowns))
        rows, cols = self.pattern.rows, self.pattern.indices
        change = self.data * scale[..., rows] * scale[..., cols]
        b = self.b * rng.uniform(0.5, 1.5, (*batch, self.num_unknowns))
        return change.astype(self.data.dtype), b.astype(self.b.dtype)


def problem(name: str, dtype: Any = np.float64) -> Problem:
    """A matrix of the table."""
    pattern, real = problems.split(_MATRICES[name]())
    imaginary = np.random.default_rng(8).uniform(-0.3, 0.3, pattern.shape)
    if name == "definite":
        imaginary = imaginary - imaginary.T  # Hermitian
    data = real * (1 + 1j * imaginary[pattern.rows, pattern.indices])
    b = np.random.default_rng(9).standard_normal(pattern.shape[0]) * (1 + 0.5j)
    complex_ = np.issubdtype(dtype, np.complexfloating)
    data, b = ((x if complex_ else x.real).astype(dtype) for x in (data, b))
    tags = frozenset({lx.positive_semidefinite_tag, lx.symmetric_tag}) if name == "definite" else frozenset()
    if complex_:
        tags -= {lx.symmetric_tag}
    return Problem(pattern, data, b, tags)


def _general() -> Any:
    rng = np.random.default_rng(1)
    dense = np.where(rng.random((12, 12)) < 0.3, rng.standard_normal((12, 12)), 0.0)
    return problems.sp.csr_matrix(dense + 4 * np.eye(12))


_MATRICES: dict[str, Callable[[], Any]] = {
    "general": _general,
    "saddle point": lambda: gallery.stokes(3),
    "definite": lambda: gallery.jumping_diffusion(4, contrast=3.0),
    "tridiagonal": lambda: gallery.convection_diffusion(70, velocity=3.0) + 0.5 * problems.sp.eye(70),
    "block diagonal": lambda: gallery.block_tridiagonal(24, 3).multiply(
        np.kron(np.eye(24), np.ones((3, 3)))
    ),  # its diagonal blocks
    "permuted": lambda: problems.permuted(_general()),
    "stencil": lambda: gallery.convection_diffusion(7, 8),
}


def reference(p: Problem, data: Any, b: Any) -> np.ndarray:
    """`A^-1 b` in NumPy, over any leading axes."""
    data, b = np.asarray(data), np.asarray(b)
    batch = np.broadcast_shapes(data.shape[:-1], b.shape[:-1])
    data, b = np.broadcast_to(data, (*batch, data.shape[-1])), np.broadcast_to(b, (*batch, b.shape[-1]))
    out = np.empty(b.shape, np.result_type(data, b, np.float64))
    for i in np.ndindex(*batch):
        out[i] = np.linalg.solve(p.dense(data[i]), b[i])
    return out


@dataclasses.dataclass(frozen=True)
class Derivatives:
    """Of `x = A^-1 b` along `(dA, db)`, and of its vector-Jacobian product with `w`, by hand.

    x' = A^-1 (b' - A' x);  l = A^-T w, b_bar = l, A_bar = -l x^T;  l' = -A^-T A'^T l,  A_bar' = -(l' x^T + l x'^T).
    """

    tangent: np.ndarray
    cotangents: tuple[np.ndarray, np.ndarray]
    second: tuple[np.ndarray, np.ndarray]

    @staticmethod
    def of(p: Problem, change: np.ndarray, db: np.ndarray, w: np.ndarray) -> Derivatives:
        a, da = p.dense(p.data), p.dense(change)
        x = np.linalg.solve(a, p.b)
        dx = np.linalg.solve(a, db - da @ x)
        left = np.linalg.solve(a.T, w)
        dleft = -np.linalg.solve(a.T, da.T @ left)
        first = (p.entries(-np.outer(left, x)), left)
        second = (p.entries(-np.outer(dleft, x) - np.outer(left, dx)), dleft)
        return Derivatives(dx, first, second)


def tolerance(entry: Entry, dtype: Any) -> tuple[float, float]:
    """Relative tolerance of an iteration, and of a comparison."""
    single = np.finfo(dtype).eps > 1e-10
    if single:
        return 1e-5, 2e-3
    return 1e-12, 1e-10 if entry.exact else 1e-7


def close(found: Any, expected: Any, rtol: float) -> None:
    """In norm, leaf by leaf."""
    found, expected = (x if isinstance(x, tuple) else (x,) for x in (found, expected))
    for one, other in zip(found, expected, strict=True):
        one, other = np.asarray(one), np.asarray(other)
        assert one.shape == other.shape
        assert np.linalg.norm(one - other) <= rtol * np.linalg.norm(other), np.abs(one - other).max()


def arrays(*values: np.ndarray) -> tuple[Any, ...]:
    return tuple(jnp.asarray(value) for value in values)
