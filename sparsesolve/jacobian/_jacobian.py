"""`jacobian`: a sparse Jacobian prepared once, evaluated often.

Preparation (host-side, static): trace the function, find the pattern, choose between differentiating it whole and
peeling its linear part (see `_peel`), colour, and lay out the decompression. Evaluation (traced): a few compressed JVPs
or VJPs and gathers. Evaluation is ordinary JAX code: `jit`, `vmap`, `jvp`, `grad` and their nestings apply.
"""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jax.core import Tracer

from sparsesolve._tree import Structure
from sparsesolve.coloring import Coloring
from sparsesolve.jacobian._arguments import Arguments, check_same_shapes, flat_function, normal_argnums, split_arguments
from sparsesolve.jacobian._choose import choose_plan, whole_coloring
from sparsesolve.jacobian._evaluation import Evaluation
from sparsesolve.jacobian._limits import check_chunk_size, check_size
from sparsesolve.jacobian._plan import Invariants, Plan, plain_plan
from sparsesolve.jacobian._program import trace_program
from sparsesolve.jacobian._sparsity import program_pattern
from sparsesolve.jacobian._verify import verify_plan
from sparsesolve.matrix import SparseMatrix
from sparsesolve.pattern import SparsityPattern

_MANY_COLORS = 32


def jacobian(
    f: Callable[..., Any],
    *args: Any,
    argnums: int | tuple[int, ...] = 0,
    sparsity: Any = None,
    has_aux: bool = False,
    verify: bool = True,
    chunk_size: int | None = None,
    peel: bool = True,
    square: bool = False,
) -> SparseJacobian:
    """Prepares the sparse Jacobian of `f` with respect to one of its arguments.

    Rows are the raveled outputs, columns the raveled inputs, both in `jax.tree` order. The linear part of `f` is peeled
    off, J = C + B J_core A, so that only its nonlinear core is differentiated, by as many JVPs or VJPs as its
    colouring has colours.

    Args:
        f: function of pytrees of arrays to a pytree of floating or complex arrays. Complex functions must be
            holomorphic.
        *args: example arguments. Only shapes, dtypes and configuration (integers, strings, callables) matter: the
            pattern is valid for all values of floats and arrays. Tracers and `jax.ShapeDtypeStruct` will do.
        argnums: which argument, or tuple of arguments, to differentiate.
        sparsity: `None` to detect the pattern; else a `SparsityPattern`, another `SparseJacobian`, a SciPy or BCOO
            matrix, or a dense boolean array, of shape (outputs, inputs). It may hold too many entries, never too few.
        has_aux: whether `f` returns `(outputs, aux)`.
        verify: compare with `jax.jvp` along random directions when all arguments are concrete.
        chunk_size: how many colours are computed at once; bounds memory. `None` means all.
        peel: whether to look for a linear part.
        square: whether to store every diagonal entry, so that `J + shift * I` has the same pattern.

    Returns:
        A `SparseJacobian`: call it with arguments of the same shapes.

    Raises:
        TypeError: if the unknowns or the outputs are not floating or complex.
        ValueError: if the pattern misses an entry, has the wrong shape or would not fit in memory.

    References:
        Curtis, Powell and Reid, "On the estimation of sparse Jacobian matrices", IMA J. Appl. Math. 13 (1974) 117.
        Gebremedhin, Manne and Pothen, "What color is your Jacobian?", SIAM Review 47 (2005) 629,
        doi:10.1137/S0036144504444711.

    Example:
        >>> import jax.numpy as jnp
        >>> from sparsesolve.jacobian import jacobian
        >>> def residual(u):
        ...     return jnp.roll(u, 1) - 2 * u + jnp.roll(u, -1) + jnp.exp(u)
        >>> jac = jacobian(residual, jnp.zeros(6))
        >>> jac.num_colors
        1
        >>> jac(jnp.zeros(6)).todense()[0]
        Array([-1.,  1.,  0.,  0.,  0.,  1.], dtype=float64)
    """
    check_chunk_size(chunk_size, "jacobian")
    options = Options(peel, chunk_size, square, has_aux, "jacobian")
    return SparseJacobian(
        f, split_arguments(args, argnums, "jacobian"), normal_argnums(argnums, args), sparsity, options, verify
    )


@dataclasses.dataclass(frozen=True)
class Options:
    """What a prepared Jacobian remembers of its arguments."""

    peel: bool
    chunk_size: int | None
    square: bool
    has_aux: bool
    caller: str
    symmetric: bool = False


class SparseJacobian:
    """A Jacobian prepared by `jacobian` or `hessian`. Hashable by identity; part of the plan, never traced.

    Attributes:
        pattern: entries that can be nonzero.
        shape: (outputs, inputs).
        inputs: structure of the differentiated arguments.
        outputs: structure of the result.
    """

    def __init__(
        self,
        f: Callable[..., Any],
        arguments: Arguments,
        argnums: int | tuple[int, ...],
        sparsity: Any,
        options: Options,
        verify: bool,
    ):
        self._f = f
        self._argnums = argnums
        self._options = options
        self._prepared = arguments
        self._sparsity = sparsity.pattern if isinstance(sparsity, SparseJacobian) else sparsity
        self.inputs = arguments.structure
        first = _Specialised(f, arguments, argnums, self._sparsity, None, options)
        self._specialised = {arguments.key: first}
        self.pattern: SparsityPattern = first.plan.pattern
        self.outputs = first.outputs
        self._first = first
        # The example values are not needed any more and must not be kept alive (or leak, if they are tracers).
        unknowns, parameters = arguments.abstract
        self._prepared = dataclasses.replace(arguments, unknowns=unknowns, parameters=parameters)
        if verify and arguments.is_concrete and first.is_concrete:
            verify_plan(first.plan, arguments, self.inputs, self.outputs, first.evaluation.run_now, options.caller)
        self._warn_if_colouring_gains_nothing()

    @property
    def shape(self) -> tuple[int, int]:
        return self.pattern.shape

    @property
    def coloring(self) -> Coloring:
        """Of what is differentiated: the whole function, or its nonlinear core if the linear part is peeled off."""
        return self._first.plan.coloring

    @property
    def num_colors(self) -> int:
        """JVPs and VJPs that one evaluation takes; 0 for a linear function."""
        return self.coloring.num_colors

    @property
    def is_peeled(self) -> bool:
        """Whether a linear part was peeled off."""
        return self._first.plan.tail is not None

    def __call__(self, *args: Any) -> Any:
        """The Jacobian at `args`, a `SparseMatrix`; with `has_aux`, `(SparseMatrix, aux)`."""
        _, aux, matrix = self._evaluate(args, None, self._options.has_aux)
        return (matrix, aux) if self._options.has_aux else matrix

    def value_and_jacobian(self, *args: Any) -> Any:
        """`(f(*args), SparseMatrix)`; with `has_aux`, `((value, aux), SparseMatrix)`."""
        return self.evaluate(*args, invariants=None)

    def invariants(self, *args: Any) -> Invariants:
        """Everything that does not depend on the unknowns, to be computed once per solve.

        Constant entries of J, weights of the linear part that depend on other arguments, and those arguments as far
        as they are needed. The unknowns in `args` only give shapes.
        """
        arguments, special = self._match(args)
        return special.evaluation.invariants(arguments)

    def evaluate(self, *args: Any, invariants: Invariants | None = None) -> Any:
        """As `value_and_jacobian`, with invariants computed before (they must come from the same other arguments)."""
        value, aux, matrix = self._evaluate(args, invariants, True)
        return ((value, aux), matrix) if self._options.has_aux else (value, matrix)

    def __repr__(self) -> str:
        m, n = self.shape
        kind = "linear part peeled" if self.is_peeled else "whole function"
        return f"SparseJacobian({m} x {n}, nnz={self.pattern.nnz}, {self.num_colors} colors, {kind})"

    def _evaluate(self, args: tuple[Any, ...], invariants: Invariants | None, want_value: bool) -> Any:
        arguments, special = self._match(args)
        evaluation = special.single if invariants is None else special.evaluation
        leaves, data = evaluation.run(arguments, invariants, want_value)
        matrix = SparseMatrix(data, self.pattern)
        if not want_value:
            return None, None, matrix
        count = len(self.outputs.shapes)
        value = jtu.tree_unflatten(self.outputs.treedef, leaves[:count])
        return value, jtu.tree_unflatten(special.aux_treedef, leaves[count:]), matrix

    def _match(self, args: tuple[Any, ...]) -> tuple[Arguments, _Specialised]:
        if len(args) != len(self._args_template()):
            raise ValueError(
                f"This {self._options.caller} was prepared with {len(self._args_template())} arguments and got "
                f"{len(args)}; call it as you would call the function."
            )
        arguments = split_arguments(args, self._argnums, self._options.caller)
        check_same_shapes(self._prepared, arguments, self._options.caller)
        return arguments, self._specialise(arguments)

    def _args_template(self) -> list[Any]:
        return self._prepared.static.combine([None] * sum(self._prepared.static.traced))

    def _specialise(self, arguments: Arguments) -> _Specialised:
        key = arguments.key
        if key not in self._specialised:
            self._specialised[key] = _Specialised(
                self._f, arguments, self._argnums, self._sparsity, self.pattern, self._options
            )
        return self._specialised[key]

    def _warn_if_colouring_gains_nothing(self) -> None:
        smaller = min(self.shape)
        if self.num_colors >= smaller > _MANY_COLORS:
            warnings.warn(
                f"The {self._options.caller} of shape {self.shape} needs {self.num_colors} products, as many as a "
                "dense one: its pattern is dense, or has both a dense row and a dense column. Use jax.jacfwd.",
                stacklevel=4,
            )


class _Specialised:
    """Program, plan and compiled evaluation for one set of shapes, dtypes and configuration."""

    def __init__(
        self,
        f: Callable[..., Any],
        arguments: Arguments,
        argnums: int | tuple[int, ...],
        sparsity: Any,
        prepared: SparsityPattern | None,
        options: Options,
    ):
        outputs: list[Any] = []
        function = flat_function(f, arguments, argnums)

        def flat(unknowns: list[Any], parameters: list[Any]) -> tuple[list[Any], list[Any]]:
            result = function(unknowns, parameters)
            value, aux = result if options.has_aux else (result, None)
            value = jtu.tree_map(jnp.asarray, value)
            outputs.append(Structure.of(value))
            leaves, self.aux_treedef = jtu.tree_flatten(aux)
            return jtu.tree_leaves(value), leaves

        self.aux_treedef: Any = None
        self.program = trace_program(flat, *arguments.abstract)
        self.outputs = outputs[0]
        _check_outputs(self.outputs, options.caller)
        pattern = program_pattern(
            self.program,
            arguments.structure,
            self.outputs,
            sparsity,
            prepared,
            square=options.square,
            symmetric=options.symmetric,
            caller=options.caller,
        )
        dtype = np.dtype(jnp.result_type(arguments.structure.dtype, self.outputs.dtype))
        check_size(pattern, dtype, options.caller)
        self._options = options
        self.plan: Plan = choose_plan(
            self.program,
            pattern,
            dtype,
            peel=options.peel,
            chunk=options.chunk_size,
            symmetric=options.symmetric,
        )
        self.evaluation = Evaluation(self.plan)

    @property
    def is_concrete(self) -> bool:
        """Whether the function closes over no tracers."""
        return not any(isinstance(c, Tracer) for c in self.program.consts)

    @functools.cached_property
    def single(self) -> Evaluation:
        """What a call without invariants uses.

        Peeling pays when the constant entries are known or are computed once for many evaluations. If they depend on
        run-time parameters, computing them for one evaluation costs more than differentiating the whole function.
        """
        plan = self.plan
        if plan.has_static_invariants:
            return self.evaluation
        whole = self.program.piece(self.program.unknowns, self.program.outputs)
        coloring = whole_coloring(whole, plan.pattern, self._options.symmetric)
        return Evaluation(plain_plan(self.program, plan.pattern, coloring, plan.dtype, self._options.chunk_size))


def _check_outputs(outputs: Structure, caller: str) -> None:
    for name, dtype in zip(outputs.names, outputs.dtypes, strict=True):
        if not jnp.issubdtype(dtype, jnp.inexact):
            raise TypeError(
                f"{caller} got a function whose result{name} has dtype {dtype}: its derivative is zero or undefined. "
                "Return floating numbers, or move it to the auxiliary output with has_aux=True."
            )
