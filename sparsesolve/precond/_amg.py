"""`AMG`: smoothed aggregation algebraic multigrid as a preconditioner, planned once, refreshed inside `jit`."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Inexact

from sparsesolve import _native
from sparsesolve._cache import BoundedCache
from sparsesolve.matrix import SparseMatrix
from sparsesolve.pattern import SparsityPattern
from sparsesolve.precond._base import AbstractApplication, AbstractPreconditioner, PreconditionerOperator
from sparsesolve.precond._cycle import VISITS, multigrid_cycle
from sparsesolve.precond._fields import FieldLabels, field_labels
from sparsesolve.precond._hierarchy import HierarchyPlan, plan_hierarchy, refresh

_plans = BoundedCache("multigrid hierarchies", maxsize=16)


@dataclasses.dataclass(frozen=True)
class _Cycle(AbstractApplication):
    """`v -> ` one multigrid cycle for `A x = v` from zero."""

    plan: HierarchyPlan
    degree: int
    visits: int

    def apply(self, arrays: Any, v: Inexact[Array, " n"], *, transpose: bool) -> Inexact[Array, " n"]:
        tables, hierarchy, transposed = arrays
        dtype = hierarchy.levels[0].inverse_diagonal.dtype if hierarchy.levels else v.dtype
        if jnp.iscomplexobj(v) and not jnp.issubdtype(dtype, jnp.complexfloating):
            parts = (self.apply(arrays, part, transpose=transpose) for part in (v.real, v.imag))
            return jax.lax.complex(*parts)
        v = v.astype(dtype)
        numbers = transposed if transpose else hierarchy
        return multigrid_cycle(self.plan, self.degree, self.visits, tables, numbers, v, transpose=transpose)


class AMG(AbstractPreconditioner):
    """Algebraic multigrid by smoothed aggregation: one cycle as `M^-1`.

    For matrices that come from diffusion: Poisson-like operators, `I + c L` of implicit steps, on grids and meshes,
    scalar or per field for systems. The number of Krylov steps hardly depends on the mesh or on `c`. The hierarchy
    (aggregates, patterns, index maps) is planned on the host from sample values; calling the preconditioner
    recomputes all its numbers, Galerkin products included, from new values inside `jit`.

    Without `prepare`, concrete values are their own sample. Under a trace there are none: then all entries of a
    field count as equally strong, which is right for isotropic problems; prepare with a sample for others.

    A prepared `AMG` carries index tables as arrays. Pass it to a jitted function as an argument (`eqx.filter_jit`, or
    inside a solver) rather than closing over it: XLA compiles constants of this size slowly.

    Args:
        degree: of the Chebyshev polynomial smoothed with before and after each correction, 2 to 4.
        cycle: `"V"`, or `"W"`, which costs more and helps where V-cycles need more steps on larger meshes.
        strength: an entry interpolates when it is at least this part of the geometric mean of the largest entries of
            its row and column, 0 to 1.
        fields: for systems: the number of fields, or an integer array `(n,)` with the field of each unknown. Each
            field gets aggregates of its own. `None`: one field for each pytree leaf when the pattern knows them (a
            detected one does), one field otherwise.
        interleaved: with a number of fields, whether they alternate (`u0 v0 u1 v1 ...`) instead of following
            each other.
        max_coarse: unknowns up to which a level is solved directly.
        max_levels: levels at most.
        backend: `"native"`, compiled kernels on the CPU; `"portable"`, plain JAX for any device; `"auto"`, native where
            it is installed and JAX's default device is a CPU.

    Raises:
        ValueError: an argument out of its range; from `prepare`, a pattern that is not square, a sample that does not
            fit or is not finite.

    References:
        P. Vanek, J. Mandel, M. Brezina, Algebraic multigrid by smoothed aggregation for second and fourth order
        elliptic problems, Computing 56 (1996) 179-196, doi:10.1007/BF02238511.

    Example:
        >>> import jax.numpy as jnp, lineax as lx, scipy.sparse, sparsesolve as ss
        >>> line = scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(30, 30))
        >>> A = ss.SparseMatrix.from_scipy(scipy.sparse.kronsum(line, line))
        >>> operator = ss.SparseLinearOperator(A, lx.positive_semidefinite_tag)
        >>> solver = ss.CG(rtol=1e-8, atol=1e-8, preconditioner=ss.AMG()).prepare(A.pattern, A.data)
        >>> bool(lx.linear_solve(operator, jnp.ones(900), solver).stats["num_steps"] < 10)
        True
    """

    degree: int = eqx.field(static=True, default=3)
    cycle: Literal["V", "W"] = eqx.field(static=True, default="V")
    strength: float = eqx.field(static=True, default=0.25)
    fields: int | FieldLabels | None = eqx.field(static=True, default=None)
    interleaved: bool = eqx.field(static=True, default=False)
    max_coarse: int = eqx.field(static=True, default=200)
    max_levels: int = eqx.field(static=True, default=20)
    backend: Literal["auto", "native", "portable"] = eqx.field(static=True, default="auto")
    plan: HierarchyPlan | None = eqx.field(static=True, default=None)
    tables: Any = None

    def __init__(
        self,
        degree: int = 3,
        *,
        cycle: Literal["V", "W"] = "V",
        strength: float = 0.25,
        fields: Any = None,
        interleaved: bool = False,
        max_coarse: int = 200,
        max_levels: int = 20,
        backend: Literal["auto", "native", "portable"] = "auto",
    ):
        if cycle not in VISITS:
            raise ValueError(f"AMG got cycle={cycle!r}; write 'V' or 'W'.")
        for name, value, lowest in (
            ("degree", degree, 1),
            ("max_coarse", max_coarse, 1),
            ("max_levels", max_levels, 1),
        ):
            if value < lowest:
                raise ValueError(f"AMG got {name}={value}; it must be at least {lowest}.")
        if not 0 <= strength <= 1:
            raise ValueError(f"AMG got strength={strength}; a part of the largest entry lies between 0 and 1.")
        if isinstance(fields, int) and fields < 1:
            raise ValueError(f"AMG got fields={fields}; there is at least one field.")
        if backend not in ("auto", "native", "portable"):
            raise ValueError(f"AMG got backend={backend!r}; write 'auto', 'native' or 'portable'.")
        self.backend = backend
        self.degree, self.cycle, self.strength = degree, cycle, float(strength)
        self.fields = fields if fields is None or isinstance(fields, int | FieldLabels) else FieldLabels(fields)
        self.interleaved, self.max_coarse, self.max_levels = interleaved, max_coarse, max_levels
        self.plan, self.tables = None, None

    def prepare(self, pattern: SparsityPattern, sample: Inexact[Array, " nnz"] | None = None) -> AMG:
        """The same preconditioner with its hierarchy planned.

        Args:
            pattern: square.
            sample: concrete values in CSR order, `(nnz,)`: their strong entries decide the aggregates. Without them
                all entries within a field count as equally strong.

        Raises:
            ValueError: the pattern is not square, the sample does not fit it or is not finite, or `fields` does not.
        """
        plan = self._plan(pattern, sample)
        prepared = object.__new__(AMG)
        for field in dataclasses.fields(self):
            object.__setattr__(prepared, field.name, getattr(self, field.name))
        object.__setattr__(prepared, "plan", plan)
        object.__setattr__(prepared, "tables", plan.device_tables)
        return prepared

    def factor(self, matrix: SparseMatrix) -> PreconditionerOperator:
        """One cycle with the numbers of `matrix`."""
        plan, tables = self.plan, self.tables
        traced = isinstance(matrix.data, Tracer)
        if plan is None:
            plan = self._plan(matrix.pattern, None if traced else matrix.data)
            # The barrier keeps XLA from computing with constant tables while compiling.
            tables = jax.lax.optimization_barrier(plan.tables) if traced else plan.device_tables
        if plan.pattern != matrix.pattern:
            matrix = matrix.on_pattern(plan.pattern)
        hierarchy, transposed = refresh(plan, self._spread, tables, matrix.data)
        application = _Cycle(plan, self.degree, VISITS[self.cycle])
        return PreconditionerOperator((tables, hierarchy, transposed), application, matrix.shape[0], matrix.dtype)

    @property
    def _spread(self) -> float:
        """Upper over lower end of the interval that is smoothed: what a polynomial of this degree reduces well."""
        return 7.0 if self.degree <= 3 else 10.0

    def _plan(self, pattern: SparsityPattern, sample: Any) -> HierarchyPlan:
        if pattern.shape[0] != pattern.shape[1]:
            raise ValueError(
                f"AMG needs a square matrix, got shape {pattern.shape}. For least squares precondition the normal "
                "equations."
            )
        labels = field_labels(pattern, self.fields, self.interleaved)
        values = None if sample is None else np.asarray(sample)
        if values is not None and values.shape != (pattern.nnz,):
            raise ValueError(
                f"AMG got a sample of shape {values.shape} for a pattern with {pattern.nnz} entries; give its values "
                "in CSR order."
            )
        if values is not None and not np.isfinite(values).all():
            raise ValueError("AMG got sample values that are not finite; give values typical of the matrices to come.")
        native = self.backend == "native" or (self.backend == "auto" and _native.available())
        if native and not _native.available():
            raise ValueError(f"AMG cannot use backend='native' ({_native.status()}). Write backend='auto'.")
        options = (self.strength, self.max_coarse, self.max_levels, native)
        content = b"" if values is None else hashlib.blake2b(values.tobytes() + str(values.dtype).encode()).digest()
        key = (pattern, options, labels.tobytes() if labels.any() else b"", content)
        return _plans.get(key, lambda: plan_hierarchy(pattern, values, labels, *options))
