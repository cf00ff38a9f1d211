# %% [markdown]
# # Hundreds of peaks in one spectrum
#
# Height, position and width of every peak and a straight baseline are fitted together. Each sample of the spectrum
# sees only the peaks near it, so the Jacobian is a band with two dense columns. Nobody says so: it is detected.
#
#     python examples/09_spectral_peaks.py --n 300 --out pictures

# %%
import argparse
import pathlib
import time

import jax
import jax.numpy as jnp
import numpy as np

import sparsesolve as ss
from sparsesolve import gallery, report

jax.config.update("jax_enable_x64", True)

parser = argparse.ArgumentParser()
parser.add_argument("--n", type=int, default=300, help="peaks")
parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("pictures"), help="folder for pictures")
options, _ = parser.parse_known_args()

# %% [markdown]
# ## The problem
#
# The residual is a plain function: model minus data. `y0` is a pytree, a row of three numbers for each peak.

# %%
problem = gallery.spectral_peaks(options.n, noise=0.05)
print(problem)

# %% [markdown]
# ## The fit

# %%
began = time.perf_counter()
sol = ss.least_squares(problem.residual, None, problem.y0, problem.args, history=True)
first = time.perf_counter() - began
began = time.perf_counter()
jax.block_until_ready(ss.least_squares(problem.residual, None, problem.y0, problem.args, history=True).value)
stats = sol.stats
print(f"{int(stats['num_steps'])} steps with {stats['num_colors']} colours, {stats['nnz']:,} Jacobian entries")
print(f"first call {first:.1f} s, the second one {1e3 * (time.perf_counter() - began):.0f} ms")
print(f"chi^2 {2 * float(stats['cost']):.4f}, expected {problem.cost:.4f}")

# %% [markdown]
# ## How sure are we?
#
# The covariance of all parameters would be dense. Blocks of it are solved for with the sparse factors: here the 3 x 3
# block of each of the first peaks.

# %%
count = min(options.n, 10)
blocks = ss.covariance(sol, lambda y: y["peaks"][:count], blocks=True)
errors = np.sqrt(np.diagonal(blocks, axis1=1, axis2=2))
deviations = (sol.value["peaks"][:count] - problem.solution["peaks"][:count]) / errors
print(f"deviations from the truth in standard errors: rms {float(np.sqrt(np.mean(deviations**2))):.2f}")

# %% [markdown]
# ## Pictures

# %%
figure, axes = report.new_figure(1, 3, size=(4.8, 3.6))
spectrum, pattern, convergence = axes[0]
shown = problem.args["x"] < count
x = problem.args["x"][shown]
fit = problem.residual(sol.value, problem.args) + problem.args["y"]
spectrum.plot(x, problem.args["y"][shown], ".", markersize=3, color=report.PALETTE[9])
spectrum.plot(x, fit[shown], color=report.PALETTE[0], linewidth=1.3)
tops = sol.value["peaks"][:count]
spectrum.errorbar(tops[:, 1], tops[:, 0], errors[:, 0], errors[:, 1], fmt="+", color=report.PALETTE[1])
spectrum.set_title(f"the first {count} peaks, heights and positions", fontsize=10)
report.spy(ss.detect_sparsity(problem.residual, problem.y0, problem.args), title="Jacobian", ax=pattern)
costs = 2 * stats["costs"]
report.plot_convergence({"Levenberg-Marquardt": jnp.sqrt(costs)}, title="residual norm", ax=convergence)
print(f"wrote {report.save_figure(figure, options.out / '09_spectral_peaks.png')}")

# %% [markdown]
# ## Things to try
#
# - `--n 3000`: ten times the peaks take about ten times as long.
# - `ss.LevenbergMarquardt(linear_solver="dense")`: the same answer, and the time of a dense matrix.
# - Constrain the heights to be positive: `bounds=({"peaks": 0.0, "baseline": None}, None)`.
# - Add spikes to `args["y"]` and a `loss=ss.Loss("huber", scale=0.1)`.
