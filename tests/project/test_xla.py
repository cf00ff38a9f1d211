"""Sums that a version of the compiler gets wrong are right where the package is imported."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
import pytest

import sparsesolve  # noqa: F401


def turned(q, d):
    """Real and one imaginary part of a product of quaternions: sums that a batch of `d` shares `q` in."""
    return q[:, 3:] - jnp.sum(q[:, :3] * d, axis=1, keepdims=True)


def test_sums_of_batches_in_single_precision():
    rng = np.random.default_rng(0)
    q, d = rng.normal(size=(2499, 4)).astype(np.float32), rng.normal(size=(14, 2499, 3)).astype(np.float32)
    found = jax.jit(jax.vmap(turned, in_axes=(None, 0)))(q, d)
    np.testing.assert_allclose(found, q[None, :, 3:] - np.sum(q[None, :, :3] * d, axis=2, keepdims=True), atol=1e-5)


@pytest.mark.skipif(jaxlib.__version__ != "0.10.2", reason="this version of jaxlib sums correctly")
def test_an_import_that_comes_too_late_says_so():
    code = "import jax.numpy as jnp; jnp.zeros(3).block_until_ready(); import sparsesolve"
    environment = {"PATH": "", "JAX_PLATFORMS": "cpu", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and "import sparsesolve before the first array is made" in done.stderr
