"""`FieldSplit`: a preconditioner for block systems, made of one for each field. Traced; the partition is a plan.

    additive    x_i = P_i r_i                                   block diagonal
    lower       x_i = P_i (r_i - sum_{j<i} A_ij x_j)            block Gauss-Seidel, fields in their order
    upper       x_i = P_i (r_i - sum_{j>i} A_ij x_j)            the same backwards

with `P_i` about `A_ii^-1`. For saddle points the last diagonal block is replaced by the approximate Schur complement
`S = D - C diag(A)^-1 B`, which makes `lower` and `upper` block triangular factors of the matrix: with exact `P_1` and
`S`, GMRES needs two steps.

References: H. C. Elman, D. J. Silvester, A. J. Wathen, Finite Elements and Fast Iterative Solvers, Oxford 2014,
chapter 9. M. F. Murphy, G. H. Golub, A. J. Wathen, A note on preconditioning for indefinite linear systems, SIAM J.
Sci. Comput. 21 (2000) 1969-1972, doi:10.1137/S1064827599355153.
Cost of an application: one of each field, and the products with the blocks used.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
from jaxtyping import Array, Inexact

from sparsesolve._cache import BoundedCache
from sparsesolve._tree import FixedArray
from sparsesolve.matrix import SparseMatrix, product_plan
from sparsesolve.pattern import SparsityPattern
from sparsesolve.precond._base import AbstractApplication, AbstractPreconditioner, PreconditionerOperator
from sparsesolve.precond._blocks import Fields, SchurProduct
from sparsesolve.precond._jacobi import Jacobi

Kind = Literal["additive", "lower", "upper"]

_plans = BoundedCache("field splits", maxsize=32)


class _Split(AbstractApplication):
    """Applies the preconditioners of the fields in turn."""

    def __init__(self, fields: Fields, kind: Kind, key: Any):
        self.fields, self.kind, self._key = fields, kind, key
        count = len(fields.members)
        couples = [(i, j) for i in range(count) for j in range(count) if (j < i if kind == "lower" else j > i)]
        self.couples = [] if kind == "additive" else [c for c in couples if fields.block(*c).pattern.nnz]
        self.schur: SchurProduct | None = None

    def arrange(self, data: Inexact[Array, " nnz"]) -> list[Any]:
        """The values of the blocks that couple fields, in the order of their product layouts."""
        blocks = [self.fields.block(i, j).of(data) for i, j in self.couples]
        # Both directions now, so that neither kind of application arranges.
        return [tuple(product_plan(b.pattern, transpose=t).arrange(b.data) for t in (False, True)) for b in blocks]

    def apply(self, arrays: Any, v: Inexact[Array, " n"], *, transpose: bool) -> Inexact[Array, " n"]:
        operators, arranged = arrays
        members, place = jax.lax.optimization_barrier((self.fields.members, self.fields.place))
        rest = [jnp.asarray(v)[mine] for mine in members]
        order = range(len(rest))
        if (self.kind == "lower") == transpose:
            order = reversed(order)
        out: list[Any] = [None] * len(rest)
        for i in order:
            operator = operators[i].transpose() if transpose else operators[i]
            out[i] = operator.mv(rest[i])
            for (row, col), values in zip(self.couples, arranged, strict=True):
                source, target = (row, col) if transpose else (col, row)
                if source == i:
                    plan = product_plan(self.fields.block(row, col).pattern, transpose=transpose)
                    rest[target] = rest[target] - plan.multiply(values[int(transpose)], out[i])
        return jnp.concatenate(out)[place]

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, _Split) and self._key == other._key)

    def __hash__(self) -> int:
        return hash(self._key)


class FieldSplit(AbstractPreconditioner):
    """Block preconditioner for systems of several fields, with a preconditioner of its own for each.

    Attributes:
        preconditioners: one for each field, or one for all: preconditioners of this package, lineax operators that
            apply `P_i`, or functions `v -> P_i v`.
        fields: how unknowns make fields. `None`: each leaf of the pytree is one (the pattern remembers the leaves of
            what it was detected from). An integer `k`: unknowns `i, i + k, i + 2 k, ...` are field `i`. Otherwise a
            sequence of index arrays.
        kind: `"additive"`, `"lower"` or `"upper"`.
        schur: let the last field's preconditioner be made from `S = D - C diag(A)^-1 B` instead of its diagonal block;
            `A` is all fields before. A Schur complement of your own is the last entry of `preconditioners`.
        split: partition pinned by `prepare`.

    Raises:
        ValueError: fields do not partition the unknowns, or their number does not fit.

    Example:
        >>> import jax.numpy as jnp, lineax as lx
        >>> from sparsesolve.linear import GMRES
        >>> from sparsesolve.matrix import SparseLinearOperator, SparseMatrix
        >>> from sparsesolve.precond import FieldSplit, Jacobi
        >>> A = SparseMatrix.from_dense(jnp.array([[2.0, 0.0, 1.0], [0.0, 4.0, 1.0], [1.0, 1.0, 0.0]]))
        >>> split = FieldSplit(Jacobi(), fields=([0, 1], [2]), kind="lower", schur=True)
        >>> solution = lx.linear_solve(SparseLinearOperator(A), A @ jnp.ones(3), GMRES(preconditioner=split))
        >>> jnp.round(solution.value, 12), int(solution.stats["num_steps"])
        (Array([1., 1., 1.], dtype=float64), 2)
    """

    preconditioners: Any
    fields: Any = eqx.field(static=True)
    kind: Kind = eqx.field(static=True)
    schur: bool = eqx.field(static=True)
    split: _Split | None = eqx.field(static=True)

    def __init__(
        self,
        preconditioners: Any = None,
        *,
        fields: int | Sequence[Any] | None = None,
        kind: Kind = "lower",
        schur: bool = False,
        split: _Split | None = None,
    ):
        if kind not in ("additive", "lower", "upper"):
            raise ValueError(f"FieldSplit got kind={kind!r}; write 'additive', 'lower' or 'upper'.")
        self.preconditioners = Jacobi() if preconditioners is None else preconditioners
        if not (fields is None or isinstance(fields, int)):
            fields = tuple(f if isinstance(f, FixedArray) else FixedArray(np.asarray(f, np.int32)) for f in fields)
        self.fields, self.kind, self.schur, self.split = fields, kind, schur, split

    def prepare(self, pattern: SparsityPattern, sample: Inexact[Array, " nnz"] | None = None) -> FieldSplit:
        """The same with its fields pinned and the preconditioners of the fields prepared."""
        split = self._plan(pattern)
        data = None if sample is None else jnp.asarray(sample)
        prepared = []
        for i, given in enumerate(self._each(split)):
            if isinstance(given, AbstractPreconditioner):
                last = self.schur and i == len(split.fields.members) - 1
                here = split.schur.pattern if last and split.schur is not None else split.fields.block(i, i).pattern
                values = None if data is None else self._diagonal_block(split, i, data).data
                given = given.prepare(here, values)
            prepared.append(given)
        return dataclasses.replace(self, preconditioners=tuple(prepared), split=split)

    def factor(self, matrix: SparseMatrix) -> PreconditionerOperator:
        """The preconditioners of the diagonal blocks (or the Schur complement), and the blocks that couple them."""
        split = self._plan(matrix.pattern) if self.split is None else self.split
        operators = []
        for i, given in enumerate(self._each(split)):
            size = split.fields.members[i].size
            operators.append(
                given(self._diagonal_block(split, i, matrix.data))
                if isinstance(given, AbstractPreconditioner)
                else _as_operator(given, size, matrix.dtype)
            )
        arrays = tuple(operators), split.arrange(matrix.data)
        return PreconditionerOperator(arrays, split, matrix.shape[0], matrix.dtype)

    def _diagonal_block(self, split: _Split, i: int, data: Array) -> SparseMatrix:
        block = split.fields.block
        if split.schur is None or i < len(split.fields.members) - 1:
            return block(i, i).of(data)
        a, b, c, d = (block(*at).of(data) for at in ((0, 0), (0, 1), (1, 0), (1, 1)))
        return split.schur(a, b, c, d)

    def _each(self, split: _Split) -> tuple[Any, ...]:
        count = len(split.fields.members)
        given = self.preconditioners
        each = tuple(given) if isinstance(given, tuple | list) else (given,) * count
        if len(each) != count:
            raise ValueError(f"FieldSplit got {len(each)} preconditioners for {count} fields; give one for each.")
        return each

    def _plan(self, pattern: SparsityPattern) -> _Split:
        key = (pattern, pattern.column_shapes if self.fields is None else self.fields, self.kind, self.schur)

        def build() -> _Split:
            fields = Fields(pattern, *_members(pattern, self.fields))
            if len(fields.members) < 2 or (self.schur and len(fields.members) != 2):
                wanted = "two fields for schur=True" if self.schur else "two fields or more"
                raise ValueError(
                    f"FieldSplit got {len(fields.members)} field(s), but it needs {wanted}; write "
                    "fields=([...], [...]) with the unknowns of each, or fields=k for k interleaved fields."
                )
            split = _Split(fields, self.kind, key)
            if self.schur:
                at = ((0, 0), (0, 1), (1, 0), (1, 1))
                split.schur = SchurProduct(*(fields.block(*ij).pattern for ij in at))
            return split

        return _plans.get(key, build)


def _members(pattern: SparsityPattern, fields: Any) -> tuple[tuple[np.ndarray, ...], tuple[Any, ...] | None]:
    n = pattern.shape[0]
    if isinstance(fields, int):
        return tuple(np.arange(i, n, fields) for i in range(fields)), None
    if fields is not None:
        return tuple(f.value for f in fields), None
    shapes = pattern.column_shapes or ((n,),)
    stops = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)])
    return tuple(np.arange(a, b) for a, b in itertools.pairwise(stops)), tuple(shapes)


def _as_operator(given: Any, size: int, dtype: Any) -> lx.AbstractLinearOperator:
    if isinstance(given, lx.AbstractLinearOperator):
        return given
    if callable(given):
        return lx.FunctionLinearOperator(given, jax.ShapeDtypeStruct((size,), dtype))
    raise TypeError(
        f"FieldSplit got a preconditioner of type {type(given).__name__}; give preconditioners of this package, lineax "
        "operators that apply the inverse, or functions v -> P v."
    )
