# %% [markdown]
# # A nonlinear PDE from its residual
#
# The Bratu problem models steady combustion in a square: heat is produced at the rate `lam exp(u)` and diffuses away,
#
#     -laplace(u) = lam exp(u)  inside,    u = 0  on the boundary.
#
# All we write is this equation on a grid, as a plain JAX function. Run the file, or its cells one by one:
#
#     python examples/01_bratu.py --n 128 --out pictures

# %%
import argparse
import pathlib
import time

import jax
import jax.numpy as jnp

import sparsesolve as ss
from sparsesolve import report
from sparsesolve.gallery import CRITICAL_LAM

jax.config.update("jax_enable_x64", True)

parser = argparse.ArgumentParser()
parser.add_argument("--n", type=int, default=128, help="grid points a side")
parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("pictures"), help="folder for pictures")
options, _ = parser.parse_known_args()
n = options.n


# %% [markdown]
# ## The residual
#
# `u` holds the inner points. Padding adds the boundary; four shifted views are the neighbours. The equation is
# multiplied by h^2, so that its rounding errors are as small as those of `u`.


# %%
def residual(u, lam):
    h = 1 / (u.shape[0] + 1)
    v = jnp.pad(u, 1)
    neighbours = v[:-2, 1:-1] + v[2:, 1:-1] + v[1:-1, :-2] + v[1:-1, 2:]
    return 4 * u - neighbours - h**2 * lam * jnp.exp(u)


# %% [markdown]
# ## The solve
#
# `root_find` detects which entries of the Jacobian can be nonzero, colours its columns, factorizes it sparsely, and
# runs Newton's method, all compiled. Nobody hands over a pattern, and nothing is ever made dense.


# %%
def solve(lam, start):
    return ss.root_find(residual, ss.Newton(), start, lam, history=True)


u0 = jnp.zeros((n, n))
began = time.perf_counter()
sol = solve(6.0, u0)
u = sol.value
print(f"first call, everything included: {time.perf_counter() - began:.1f} s")
stats = sol.stats
print(f"{u.size:,} unknowns, {stats['nnz']:,} Jacobian entries, {stats['num_colors']} colour(s)")
print(f"{int(stats['num_steps'])} steps, max(u) = {float(u.max()):.6f} (on infinitely fine grids 0.797109)")

# %% [markdown]
# The steps: once Newton is near, every step doubles the number of correct digits.

# %%
norms = stats["residual_norms"]
for step, norm in enumerate(norms):
    print(f"  step {step}: residual {float(norm):.2e}")

# %% [markdown]
# ## Another parameter costs only the run
#
# Plan and compilation belong to the function and its shapes. A new `lam` reuses both, so the whole branch of solutions
# up to the fold at lam = 6.808 is cheap. Each solve starts from the one before.

# %%
lams = [0.5 * k for k in range(1, 13)] + [6.2, 6.4, 6.6, 6.7, 6.75]
maxima, start, began = [], u0, time.perf_counter()
for lam in lams:
    start = solve(lam, start).value
    maxima.append(float(start.max()))
print(f"{len(lams)} more solves in {time.perf_counter() - began:.2f} s")

# %% [markdown]
# ## Derivatives of the solution
#
# The solution is differentiable by the implicit function theorem: one more solve with the same factors, not a
# backpropagation through the iterations. How does the hottest point answer to `lam`?


# %%
def hottest(lam):
    return jnp.max(ss.root_find(residual, ss.Newton(), u0, lam).value)


slope = jax.grad(hottest)(6.0)
step = 1e-4
difference = (hottest(6.0 + step) - hottest(6.0 - step)) / (2 * step)
print(f"d max(u) / d lam at 6: {float(slope):.8f} by the adjoint, {float(difference):.8f} by differences")

# %% [markdown]
# ## Beyond the fold
#
# Above lam = 6.808 there is no solution. The solver says so instead of returning NaN.

# %%
failed = ss.root_find(residual, ss.Newton(), u0, 7.5, throw=False, max_steps=50)
print(
    f"lam = 7.5: residual norm {float(failed.stats['residual_norm']):.1e} after {int(failed.stats['num_steps'])} steps"
)

# %% [markdown]
# ## Pictures

# %%
figure, axes = report.new_figure(1, 3)
x = jnp.linspace(0, 1, n + 2)[1:-1]
report.plot_field(u, (x, x), title="u at lam = 6", cmap="magma", contours=8, ax=axes[0, 0])
branch = axes[0, 1]
branch.plot([0, *lams], [0, *maxima], "o-", color=report.PALETTE[0], markersize=4, linewidth=1.3)
branch.axvline(CRITICAL_LAM[2], color=report.PALETTE[1], linewidth=1, linestyle="--")
branch.annotate("fold", (CRITICAL_LAM[2], 0.05), (-26, 0), textcoords="offset points", color=report.PALETTE[1])
branch.plot([5.5, 6.5], [maxima[11] + float(slope) * (lam - 6) for lam in (5.5, 6.5)], color=report.PALETTE[3])
branch.set_xlabel("lam", fontsize=9)
branch.set_ylabel("max(u)", fontsize=9)
branch.set_title("the branch of solutions, its slope at 6", fontsize=10)
report.plot_convergence({"Newton": norms}, title="convergence", ax=axes[0, 2])
print(f"wrote {report.save_figure(figure, options.out / '01_bratu.png')}")

# %% [markdown]
# ## Things to try
#
# - `--n 256`: four times the unknowns. The number of steps stays the same.
# - Start from `u0 = 6 * jnp.sin(...) * jnp.sin(...)`, a tall bump: Newton may find the upper solution.
# - Make the reaction `jnp.exp(u / (1 + 0.1 * u))`: the fold moves, and with larger factors disappears.
# - Let `lam` be an array of shape `(n, n)`, a hot spot in a cold plate, and take `jax.grad` with respect to all of it.
# - `jax.vmap` over `lam`: many problems at once.
