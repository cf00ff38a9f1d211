# %% [markdown]
# # Fitting parameters of a stiff partial differential equation
#
# Where two phases meet, fronts move: the Allen-Cahn equation `u_t = k(x) u_xx + r (u - u^3)`. We observe the field at
# a few times and look for the reaction rate `r` and for the diffusivity `k` at every point, by gradients through the
# stiff integration. Run the file, or its cells one by one:
#
#     python examples/07_stiff_fit.py --n 64 --out pictures

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
parser.add_argument("--n", type=int, default=64, help="grid points")
parser.add_argument("--steps", type=int, default=60, help="steps of the descent")
parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("pictures"), help="folder for pictures")
options, _ = parser.parse_known_args()
n = options.n
descent = options.steps if n > 20 else 5

# %% [markdown]
# ## The equation, and data from a diffusivity that we then forget

# %%
x = (jnp.arange(n) + 0.5) / n
truth = {"log_k": jnp.log(1e-2 * (1 + 0.8 * jnp.sin(2 * jnp.pi * x))), "r": jnp.asarray(8.0)}
u0 = jnp.sin(2 * jnp.pi * x) + 0.5 * jnp.cos(6 * jnp.pi * x)
times = jnp.asarray([0.05, 0.1, 0.2, 0.4])


def allen_cahn(t, u, p):
    k = jnp.exp(p["log_k"])
    between = 0.5 * (k[1:] + k[:-1])
    flux = jnp.pad(between * (u[1:] - u[:-1]) * n, 1)  # no flux through the ends
    return (flux[1:] - flux[:-1]) * n + p["r"] * (u - u**3)


def observe(p):
    at = dfx.SaveAt(ts=times)
    return ss.solve_ode(
        allen_cahn, 0.0, 0.4, u0, p, solver=ss.Rodas5P(), rtol=1e-5, atol=1e-7, saveat=at, max_steps=256, throw=False
    ).ys


data = observe(truth)

# %% [markdown]
# ## The loss and its gradient
#
# Reverse mode goes through every step with transposed solves on the same sparse factors. The gradient has `n + 1`
# entries and costs a few integrations.


# %%
def loss(p):
    misfit = jnp.mean((observe(p) - data) ** 2)
    return misfit + 1e-6 * jnp.mean((jnp.diff(p["log_k"]) * n) ** 2)


gradient = jax.jit(jax.value_and_grad(loss))
guess = {"log_k": jnp.full(n, jnp.log(1e-2)), "r": jnp.asarray(5.0)}
began = time.perf_counter()
value, slopes = jax.block_until_ready(gradient(guess))
print(f"first gradient, everything included: {time.perf_counter() - began:.1f} s; loss {float(value):.2e}")
began = time.perf_counter()
jax.block_until_ready(gradient(guess))
print(f"next gradient: {1e3 * (time.perf_counter() - began):.1f} ms")
step = 1e-4
shifted = [loss({**guess, "r": guess["r"] + sign * step}) for sign in (1, -1)]
difference = float(shifted[0] - shifted[1]) / (2 * step)
print(f"d loss / d r: {float(slopes['r']):.6e} by reverse mode, {difference:.6e} by differences")

# %% [markdown]
# ## The descent (Adam, in five lines)

# %%
p, losses = guess, []
first = second = jax.tree.map(jnp.zeros_like, p)
for k in range(1, descent + 1):
    value, g = gradient(p)
    losses.append(float(value))
    first = jax.tree.map(lambda m, d: 0.9 * m + 0.1 * d, first, g)
    second = jax.tree.map(lambda s, d: 0.99 * s + 0.01 * d**2, second, g)
    p = jax.tree.map(
        lambda q, m, s, k=k: q - 0.15 * (m / (1 - 0.9**k)) / (jnp.sqrt(s / (1 - 0.99**k)) + 1e-12), p, first, second
    )
print(f"loss {losses[0]:.2e} -> {losses[-1]:.2e} in {descent} steps, r = {float(p['r']):.3f} (data: 8)")

# %% [markdown]
# ## Pictures

# %%
figure, axes = report.new_figure(1, 3)
for i, t in enumerate(times):
    axes[0, 0].plot(x, data[i], color=report.PALETTE[i], linewidth=1.3, label=f"t = {float(t):g}")
axes[0, 0].legend(fontsize=8, frameon=False)
axes[0, 0].set_title("data", fontsize=10)
axes[0, 1].plot(x, jnp.exp(truth["log_k"]), color="#888888", linewidth=2.5, label="data")
axes[0, 1].plot(x, jnp.exp(p["log_k"]), color=report.PALETTE[1], linewidth=1.3, label="found")
axes[0, 1].legend(fontsize=8, frameon=False)
axes[0, 1].set_title("diffusivity", fontsize=10)
report.plot_convergence({"loss": losses}, title="descent", ax=axes[0, 2])
axes[0, 2].set_ylabel("loss", fontsize=9)
print(f"wrote {report.save_figure(figure, options.out / '07_stiff_fit.png')}")

# %% [markdown]
# ## Things to try
#
# - `--steps 300`: the diffusivity comes closer where the field has slopes, and stays unknown where it is flat.
# - `ss.least_squares` on `observe(p) - data` instead of the descent: a handful of steps.
# - Add noise to the data, and more weight to the smoothness of `log_k`.
# - `solver=ss.Kvaerno5()`: the gradient goes through its stages by the implicit function theorem.
