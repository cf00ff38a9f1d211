"""Index tables that all members of a batch share.

A `lax.cond` whose predicate is batched by `vmap` batches everything its branches use, index tables too. They belong to
a plan and are the same for every member; copies of them would cost memory, and the kernels refuse them.
"""

from __future__ import annotations

from typing import Any

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

shared_p = Primitive("sparsesolve_shared")


def shared(tables: Any) -> Any:
    """The same tables; under `vmap` those of one member, not batched."""
    return jax.tree.map(shared_p.bind, tables)


def _batch(operands: Any, axes: Any) -> tuple[Any, Any]:
    return shared_p.bind(jax.lax.index_in_dim(operands[0], 0, axes[0], keepdims=False)), None


shared_p.def_impl(lambda table: table)
shared_p.def_abstract_eval(lambda table: table)
mlir.register_lowering(shared_p, lambda _, table: [table])
batching.primitive_batchers[shared_p] = _batch
ad.primitive_jvps[shared_p] = lambda primals, tangents: (shared_p.bind(*primals), tangents[0])
