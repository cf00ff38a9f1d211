"""Products, factorizations, solves and Fourier transforms."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sparsesolve.pattern._dependence import MAX_PRODUCT, Dependence, selection, shared_row
from sparsesolve.pattern._equation import Equation, rule
from sparsesolve.pattern._operations import apply, group_union, move, take, union
from sparsesolve.pattern.rules._reduction import along_axis, dense_along, reduce_axes

Axes = Sequence[Sequence[int]]
Shapes = Sequence[tuple[int, ...]]


@rule("dot_general")
def dot_general(equation: Equation) -> list[Dependence | None]:
    """out[b, i, j] = sum_k lhs[b, k, i] rhs[b, k, j]; terms with a known zero factor are left out."""
    contract, batch = equation.params["dimension_numbers"]
    (out_shape,), shapes = equation.out_shapes, equation.in_shapes
    parts = [
        _product(dep, side, shapes, contract, batch, equation.nonzero(1 - side), out_shape)
        for side, dep in enumerate(equation.deps[:2])
        if dep is not None
    ]
    return [union(parts, out_shape)]


@rule("ragged_dot_general")
def ragged_dot_general(equation: Equation) -> list[Dependence | None]:
    """out[i, j] = sum_k lhs[i, k] rhs[group(i), k, j]: a product in which rows may meet any group of rhs."""
    numbers = equation.params["ragged_dot_dimension_numbers"]
    (contract, batch), groups = numbers.dot_dimension_numbers, sorted(numbers.rhs_group_dimensions)
    (out_shape,), (left, right) = equation.out_shapes, equation.in_shapes[:2]
    if not groups or set(numbers.lhs_ragged_dimensions) & {*contract[0], *batch[0]}:
        raise ValueError("only ragged free dimensions of the left operand are resolved")
    kept = [axis for axis in range(len(right)) if axis not in groups]
    shapes = [left, tuple(right[axis] for axis in kept)]
    contract, batch = ((axes[0], [kept.index(axis) for axis in axes[1]]) for axes in (contract, batch))
    united = move(reduce_axes(equation.deps[1], groups), lambda a: a.reshape(shapes[1]), shapes[1])
    parts = [
        _product(dep, side, shapes, contract, batch, None, out_shape)
        for side, dep in enumerate((equation.deps[0], united))
        if dep is not None
    ]
    return [union(parts, out_shape)]


def _product(
    dep: Dependence,
    side: int,
    shapes: Shapes,
    contract: Axes,
    batch: Axes,
    factor: np.ndarray | None,
    out_shape: tuple[int, ...],
) -> Dependence | None:
    """The part of a product that comes from one operand, the other being zero where `factor` is false."""
    shape, other = shapes[side], shapes[1 - side]
    free = [a for a in range(len(shape)) if a not in contract[side] and a not in batch[side]]
    free_other = [a for a in range(len(other)) if a not in contract[1 - side] and a not in batch[1 - side]]
    nb = math.prod(shape[a] for a in batch[side])
    nk = math.prod(shape[a] for a in contract[side])
    nf, no = math.prod(shape[a] for a in free), math.prod(other[a] for a in free_other)
    order = [*batch[side], *contract[side], *free]
    inputs = move(dep, lambda a: np.transpose(a, order).reshape(nb, nk, nf), (nb, nk, nf))
    nonzero = None
    if factor is not None:
        nonzero = np.transpose(factor, [*batch[1 - side], *contract[1 - side], *free_other]).reshape(nb, nk, no)
    if nonzero is None or int(nonzero.sum()) * nf > MAX_PRODUCT:
        groups = np.broadcast_to(np.arange(nb)[:, None, None] * nf + np.arange(nf)[None, None, :], (nb, nk, nf))
        united = group_union(inputs, groups, (nb, nf, 1))
        out = move(united, lambda a: np.broadcast_to(a, (nb, nf, no)))
    else:
        at_b, at_k, at_o = (a[:, None] for a in np.nonzero(nonzero))
        inner = np.arange(nf)[None, :]
        rows, cols = (at_b * nf + inner) * no + at_o, (at_b * nk + at_k) * nf + inner
        matrix = selection(rows.reshape(-1), cols.reshape(-1), (nb * nf * no, nb * nk * nf))
        out = apply(inputs, matrix, (nb, nf, no))
    back = (0, 1, 2) if side == 0 else (0, 2, 1)
    return move(out, lambda a: np.transpose(a, back).reshape(out_shape), out_shape)


def batched_dense(
    deps: Sequence[Dependence | None], out_shapes: Sequence[tuple[int, ...]], batch: int
) -> list[Dependence | None]:
    """Every output element depends on all input elements of its own batch entry (the first `batch` axes)."""
    present = [dep for dep in deps if dep is not None]
    lead = out_shapes[0][:batch]
    count = math.prod(lead)
    parts = []
    for dep in present:
        inner = math.prod(dep.shape[batch:])
        if dep.shape[:batch] != lead:
            return [shared_row(present, shape) for shape in out_shapes]
        parts.append(group_union(dep, np.repeat(np.arange(count), inner), (count,)))
    merged = union(parts, (count,))
    return [
        take(merged, np.broadcast_to(np.arange(count).reshape(lead + (1,) * (len(shape) - batch)), shape))
        for shape in out_shapes
    ]


@rule(
    *"cholesky lu qr geqrf geqp3 householder_product ormqr eig eigh svd schur hessenberg tridiagonal".split(),
    *"cholesky_update symmetric_product lu_pivots_to_permutation spsolve".split(),
)
def factorization(equation: Equation) -> list[Dependence | None]:
    """Small matrices in batches: dense within a matrix, nothing between them."""
    batch = max(len(equation.in_shapes[0]) - 2, 0)
    outs = batched_dense(equation.deps, equation.out_shapes, batch)
    integer = [np.dtype(v.aval.dtype).kind in "biu" for v in equation.eqn.outvars]
    return [None if flag else out for flag, out in zip(integer, outs, strict=True)]


@rule("fft")
def fft(equation: Equation) -> list[Dependence | None]:
    """Dense along the transformed (last) axes only."""
    (shape,), (out,) = equation.in_shapes, equation.out_shapes
    batch = len(shape) - len(equation.params["fft_lengths"])
    return batched_dense(equation.deps, [out], batch)


@rule("triangular_solve")
def triangular_solve(equation: Equation) -> list[Dependence | None]:
    """x = op(A)^-1 b: the inverse of a lower triangular matrix is lower triangular; columns of b stay apart."""
    p, matrix = equation.params, equation.deps[0]
    shape = equation.in_shapes[1]
    axis = len(shape) - (2 if p["left_side"] else 1)
    n = shape[axis]
    lower = p["lower"] != bool(p["transpose_a"]) if p["left_side"] else p["lower"] == bool(p["transpose_a"])
    below = np.tri(n, dtype=np.bool_) if n * n <= MAX_PRODUCT else np.ones((1, 1), np.bool_)
    from_rhs = along_axis(equation, 1, below if lower else below.T, axis)
    from_matrix = None if matrix is None else batched_dense([matrix], [shape], len(shape) - 2)[0]
    return [union([from_rhs, from_matrix], shape)]


@rule("tridiagonal_solve")
def tridiagonal_solve(equation: Equation) -> list[Dependence | None]:
    """The inverse of a tridiagonal matrix is dense; columns of b and batch entries stay apart."""
    shape = equation.in_shapes[3]
    batch = len(shape) - 2
    from_rhs = dense_along(equation.deps[3], (batch,))
    diagonals = [dep for dep in equation.deps[:3] if dep is not None]
    from_matrix = batched_dense(diagonals, [shape], batch)[0] if diagonals else None
    return [union([from_rhs, from_matrix], shape)]
