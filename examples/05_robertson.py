# %% [markdown]
# # Eleven decades of time
#
# Robertson's reaction is the classical stiff problem: three species, rates between 0.04 and 3e7, and something new in
# every decade of time up to 1e11. Run the file, or its cells one by one:
#
#     python examples/05_robertson.py --n 200 --out pictures

# %%
import argparse
import pathlib
import time

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx

import sparsesolve as ss
from sparsesolve import gallery, report

jax.config.update("jax_enable_x64", True)

parser = argparse.ArgumentParser()
parser.add_argument("--n", type=int, default=200, help="times to save at, and systems in the batch")
parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("pictures"), help="folder for pictures")
options, _ = parser.parse_known_args()
n = options.n

# %% [markdown]
# ## Three equations


# %%
def robertson(t, y, rates):
    a, b, c = y
    k1, k2, k3 = rates
    first, second, third = k1 * a, k2 * b**2, k3 * b * c
    return jnp.stack([third - first, first - third - second, second])


rates = jnp.asarray([0.04, 3e7, 1e4])
y0 = jnp.asarray([1.0, 0.0, 0.0])
atol = np.asarray([1e-14, 1e-20, 1e-8])  # the second species never exceeds 4e-5 and ends at 1e-13

# %% [markdown]
# ## The integration
#
# For small systems `solve_ode` takes `Rodas5P`, a Rosenbrock method: no iteration, eight linear solves a step. The
# absolute tolerance is given for each component.

# %%
ts = jnp.logspace(-5, 11, n)
at = dfx.SaveAt(ts=ts)
sol = ss.solve_ode(robertson, 0.0, 1e11, y0, rates, rtol=1e-6, atol=atol, saveat=at)
began = time.perf_counter()
sol = jax.block_until_ready(ss.solve_ode(robertson, 0.0, 1e11, y0, rates, rtol=1e-6, atol=atol, saveat=at))
print(f"{int(sol.stats['num_steps'])} steps in {1e3 * (time.perf_counter() - began):.1f} ms, compiled")
print(f"digits of the published end value: {gallery.rober().digits(sol.ys[-1]):.1f}")
print(f"a + b + c - 1 at the end: {float(sol.ys[-1].sum()) - 1:.1e}")

# %% [markdown]
# ## Many at once
#
# Under `vmap` every system has its own steps. The time at which half of the first species is gone, against its rate:

# %%
k1 = jnp.logspace(-3, 0, n)


def half_time(k):
    event = dfx.Event(lambda t, y, args, **_: y[0] - 0.5, optx.Bisection(rtol=1e-3, atol=1e-9, flip="detect"))
    out = ss.solve_ode(robertson, 0.0, 1e11, y0, rates.at[0].set(k), rtol=1e-4, atol=atol, event=event, throw=False)
    return out.ts[0], out.stats["num_steps"]


batch = jax.jit(jax.vmap(half_time))
halves, steps = batch(k1)
began = time.perf_counter()
halves, steps = jax.block_until_ready(batch(k1))
print(f"{n} systems in {1e3 * (time.perf_counter() - began):.0f} ms, {int(steps.min())} to {int(steps.max())} steps")

# %% [markdown]
# ## Pictures

# %%
figure, axes = report.new_figure(1, 2)
curves, against = axes[0]
for i, (name, factor) in enumerate((("a", 1.0), ("b times 1e4", 1e4), ("c", 1.0))):
    curves.semilogx(ts, sol.ys[:, i] * factor, color=report.PALETTE[i], linewidth=1.4, label=name)
curves.set_xlabel("t", fontsize=9)
curves.legend(fontsize=8, frameon=False)
curves.set_title("Robertson's reaction", fontsize=10)
against.loglog(k1, halves, color=report.PALETTE[3], linewidth=1.4)
against.set_xlabel("k1", fontsize=9)
against.set_title("time at which half of a is gone", fontsize=10)
print(f"wrote {report.save_figure(figure, options.out / '05_robertson.png')}")

# %% [markdown]
# ## Things to try
#
# - `rtol=1e-10`: 16 decades of step sizes; the digits follow.
# - One number for `atol`, say 1e-8: how many digits of `b` survive?
# - `jax.jacfwd` of the end value with respect to `rates`.
# - `gallery.pollu()`, twenty species, in the same way.
