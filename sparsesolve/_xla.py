"""What has to be switched off in a compiler that computes something wrongly. Host-side, at import.

With jaxlib 0.10.2, the newest for Python 3.11, XLA hands sums in single precision on CPUs to YNNPACK, and
`a + sum(b * c, axis=-1)` comes out wrong where a batch shares `b` (jaxlib 0.10.0, 0.10.1 and 0.11.0 to 0.12.0 do it
right). `vmap` makes such sums of ordinary functions, the passes of compressed Jacobians among them.
"""

from __future__ import annotations

import os
import warnings

import jaxlib

_WRONG = "0.10.2"
_FLAG = "--xla_cpu_experimental_ynn_fusion_type"


def mend_sums() -> None:
    """Keeps XLA from the wrong sums, unless `XLA_FLAGS` speaks of them; warns where it is too late for that."""
    flags = os.environ.get("XLA_FLAGS", "")
    if jaxlib.__version__ != _WRONG or _FLAG in flags:
        return
    os.environ["XLA_FLAGS"] = f"{flags} {_FLAG}=".strip()
    from jax._src import xla_bridge  # of this very version

    if xla_bridge.backends_are_initialized():
        warnings.warn(
            f"JAX was at work before sparsesolve was imported, and jaxlib {_WRONG} computes sums of batches in single "
            "precision wrongly on CPUs, as in vmap(lambda x: a + jnp.sum(b * x)); import sparsesolve before the first "
            f"array is made, set XLA_FLAGS={_FLAG}= in the environment, or take a newer jaxlib (Python 3.12).",
            RuntimeWarning,
            stacklevel=3,
        )
