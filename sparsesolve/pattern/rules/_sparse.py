"""Products with `jax.experimental.sparse` matrices, and other primitives that are best taken apart.

Each has an implementation in ordinary JAX primitives; it is traced on abstract values and walked, so that known
indices and known zeros count. Nothing is computed with it.
"""

from __future__ import annotations

import jax

from sparsesolve.pattern._dependence import Dependence
from sparsesolve.pattern._equation import Equation, rule

_NAMES = """
bcoo_dot_general bcoo_dot_general_sampled bcoo_extract bcoo_fromdense bcoo_sort_indices bcoo_spdot_general
bcoo_sum_duplicates bcoo_todense bcoo_transpose bcsr_dot_general bcsr_extract bcsr_fromdense bcsr_todense coo_fromdense
coo_matmat coo_matvec coo_todense csr_fromdense csr_matmat csr_matvec csr_todense
"""


@rule(*_NAMES.split())
def sparse_operation(equation: Equation) -> list[Dependence | None]:
    """The primitive's own implementation by gathers, products and scatters."""
    eqn = equation.eqn
    avals = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in eqn.invars]

    def implementation(*operands: jax.Array) -> list[jax.Array]:
        out = eqn.primitive.impl(*operands, **eqn.params)
        return list(out) if eqn.primitive.multiple_results else [out]

    traced = jax.make_jaxpr(implementation)(*avals)
    inner = {e.primitive.name for e in traced.jaxpr.eqns}
    if eqn.primitive.name in inner:
        raise NotImplementedError("it has no implementation in other primitives")
    return equation.walk.run(traced, equation.deps, equation.knowns)[0]
