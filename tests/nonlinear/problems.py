"""Small systems with known roots or cheap references."""

import jax.numpy as jnp
import jax.tree_util as jtu


def bratu(u, lam):
    """-u'' = lam exp(u) on (0, 1), u = 0 at both ends; one unknown per inner point."""
    n = u.shape[0]
    padded = jnp.pad(u, 1)
    return (2 * u - padded[:-2] - padded[2:]) * (n + 1) ** 2 - lam * jnp.exp(u)


def coupled(y, args):
    """Leaves of different shapes, a scalar among them, in a dict: each field feels the next one."""
    u, v, s = y["u"], y["v"], y["s"]
    return {
        "u": u + 0.1 * u**3 + 0.2 * v.ravel()[:2] - args["a"],
        "v": 2.0 * v + 0.3 * jnp.tanh(v) * s - 0.1 * jnp.pad(u, (0, 4)).reshape(v.shape),
        "s": s**2 + jnp.sum(u) * 0.1 - args["b"],
    }


COUPLED_Y0 = {"u": jnp.ones(2), "v": jnp.ones((2, 3)), "s": jnp.asarray(1.0)}
COUPLED_ARGS = {"a": jnp.asarray([1.0, 2.0]), "b": jnp.asarray(2.0)}


def norm(tree):
    """The largest magnitude in a pytree."""
    return max(float(jnp.max(jnp.abs(leaf))) for leaf in jtu.tree_leaves(tree))
