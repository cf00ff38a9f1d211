# %% [markdown]
# # Reaction and diffusion in time
#
# The Brusselator: two species react autocatalytically and diffuse over a periodic square; from t = 1.1 on one of them
# is fed inside a disk. On an n x n grid this is a stiff system of 2 n^2 equations. Run the file, or its cells one by
# one:
#
#     python examples/04_brusselator.py --n 64 --out pictures

# %%
import argparse
import pathlib
import time

import diffrax as dfx
import jax
import jax.numpy as jnp

import sparsesolve as ss
from sparsesolve import report

jax.config.update("jax_enable_x64", True)

parser = argparse.ArgumentParser()
parser.add_argument("--n", type=int, default=64, help="grid points a side")
parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("pictures"), help="folder for pictures")
options, _ = parser.parse_known_args()
n = options.n

# %% [markdown]
# ## The equations
#
# A plain JAX function on a dictionary of two fields. The diffusion is slow enough here for the disk to show.

# %%
x = jnp.linspace(0.0, 1.0, n, endpoint=False)
disk = (x[:, None] - 0.3) ** 2 + (x[None, :] - 0.6) ** 2 <= 0.01


def laplacian(u):
    return (jnp.roll(u, 1, 0) + jnp.roll(u, -1, 0) + jnp.roll(u, 1, 1) + jnp.roll(u, -1, 1) - 4 * u) * n**2


def brusselator(t, y, args):
    u, v = y["u"], y["v"]
    feed = jnp.where(t >= 1.1, 5.0, 0.0) * disk
    reaction = u**2 * v
    return {
        "u": 1.0 + reaction - 4.4 * u + args["alpha"] * laplacian(u) + feed,
        "v": 3.4 * u - reaction + args["alpha"] * laplacian(v),
    }


y0 = {
    "u": jnp.broadcast_to(22 * (x * (1 - x))[None, :] ** 1.5, (n, n)),
    "v": jnp.broadcast_to(27 * (x * (1 - x))[:, None] ** 1.5, (n, n)),
}

# %% [markdown]
# ## The integration
#
# `solve_ode` finds the pattern of the Jacobian, colours it, factorizes it sparsely, and takes BDF, as the system is
# large. `jump_ts` tells where the right-hand side jumps, so that it need not be searched for by rejected steps.

# %%
times = jnp.asarray([0.0, 0.5, 1.1, 2.0, 4.0, 8.0])


def solve(alpha, rtol=1e-5):
    at = dfx.SaveAt(ts=times)
    return ss.solve_ode(brusselator, 0.0, 8.0, y0, {"alpha": alpha}, rtol=rtol, atol=1e-7, saveat=at, jump_ts=[1.1])


began = time.perf_counter()
sol = solve(0.01)
print(f"first call, everything included: {time.perf_counter() - began:.1f} s")
began = time.perf_counter()
sol = jax.block_until_ready(solve(0.01))
print(f"second call: {time.perf_counter() - began:.2f} s")
shown = ("steps", "error_rejections", "residuals", "jacobians", "factorizations")
print(f"{2 * n * n:,} unknowns: " + ", ".join(f"{int(sol.stats[f'num_{name}'])} {name}" for name in shown))

# %% [markdown]
# Another diffusivity reuses plan and compiled code.

# %%
began = time.perf_counter()
faster = jax.block_until_ready(solve(0.1))
print(f"ten times the diffusion: {time.perf_counter() - began:.2f} s")
spread = [float(jnp.ptp(s.ys["u"][-1])) for s in (sol, faster)]
print(f"u at the end differs over the square by {spread[0]:.2f}, with more diffusion by {spread[1]:.2f}")

# %% [markdown]
# ## Pictures

# %%
figure, axes = report.new_figure(2, 3)
for ax, t, field in zip(axes.ravel(), times, sol.ys["u"], strict=True):
    report.plot_field(field, (x, x), title=f"u at t = {float(t):g}", cmap="magma", ax=ax)
print(f"wrote {report.save_figure(figure, options.out / '04_brusselator.png')}")

# %% [markdown]
# ## Things to try
#
# - `--n 128`: four times the unknowns; the number of steps hardly changes.
# - `solver=ss.Rodas5P()` or `ss.Kvaerno5()`: compare steps, factorizations and time.
# - Leave `jump_ts` out and look at `num_error_rejections`.
# - Make `alpha` a field, and take `jax.grad` of the mean of `u` at the end with respect to it.
