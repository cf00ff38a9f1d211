# %% [markdown]
# # Bundle adjustment from a residual of eight lines
#
# Cameras and points in space, from where the points appear in photographs. Each residual reads one camera and one
# point; that the points can be eliminated first follows from the detected pattern, nobody has to say so.
#
#     python examples/11_bundle_adjustment.py --n 30 --out pictures [--file problem-49-7776-pre.txt]

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
parser.add_argument("--n", type=int, default=30, help="cameras")
parser.add_argument("--file", type=pathlib.Path, default=None, help="a problem of the BAL collection")
parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("pictures"), help="folder for pictures")
options, _ = parser.parse_known_args()

# %% [markdown]
# ## The problem
#
# Synthetic, or read from a file of the collection "Bundle adjustment in the large".

# %%
if options.file:
    problem = gallery.read_bal(options.file)
else:
    problem = gallery.bundle_adjustment(options.n, 40 * options.n, noise=0.5, perturbation=0.02)
print(problem)

# %% [markdown]
# ## Two ways to damp

# %%
steps = 30
costs = {}
for name, solver in (("Levenberg-Marquardt", ss.LevenbergMarquardt()), ("dogleg", ss.Dogleg())):
    began = time.perf_counter()
    sol = ss.least_squares(
        problem.residual, solver, problem.y0, problem.args, max_steps=steps, throw=False, history=True
    )
    costs[name] = 2 * np.asarray(sol.stats["costs"])
    print(f"{name}: sum of squares {costs[name][-1]:.6g} after {int(sol.stats['num_steps'])} steps")
    print(f"  {time.perf_counter() - began:.1f} s, set-up included; {sol.stats['nnz']:,} Jacobian entries")

# %% [markdown]
# ## With wrong observations
#
# A few matches are always wrong. A robust loss of each image point (a block of two residuals) keeps them from pulling;
# it starts from the fit without one, so that right observations are not taken for wrong ones.

# %%
observed = np.array(problem.args["observed"])
wrong = np.random.default_rng(0).choice(len(observed), len(observed) // 50, replace=False)
observed[wrong] += 50.0
args = {**problem.args, "observed": jnp.asarray(observed)}
good = np.delete(np.arange(len(observed)), wrong)
start = problem.y0
for name, loss in (("squares", None), ("Cauchy", ss.Loss("cauchy", scale=2.0, block=2))):
    start = ss.least_squares(problem.residual, None, start, args, loss=loss, max_steps=steps, throw=False).value
    rest = np.linalg.norm(np.asarray(problem.residual(start, problem.args))[good], axis=1)
    print(f"{name}: half of the right observations are met within {np.median(rest):.3f} pixels")

# %% [markdown]
# ## Pictures

# %%
figure, axes = report.new_figure(1, 3, size=(4.6, 3.8))
for colour, (name, values) in zip(report.PALETTE, costs.items(), strict=False):
    axes[0, 0].semilogy(values, "o-", markersize=3, linewidth=1.2, color=colour, label=name)
axes[0, 0].legend(fontsize=8, frameon=False)
axes[0, 0].set_title("sum of squares", fontsize=10)
report.spy(ss.detect_sparsity(problem.residual, problem.y0, problem.args), title="Jacobian", ax=axes[0, 1])
points = np.asarray(sol.value["points"])
axes[0, 2].plot(points[:, 0], points[:, 1], ".", markersize=2, color=report.PALETTE[0])
axes[0, 2].set_title("the points from the front", fontsize=10)
print(f"wrote {report.save_figure(figure, options.out / '11_bundle_adjustment.png')}")

# %% [markdown]
# ## Things to try
#
# - `--file problem-49-7776-pre.txt`: sum of squares 1.70e6 at the start, 2.669e4 at the minimum.
# - Hold the first camera by leaving it out of `y0`: the Jacobian has full rank but for the scale.
# - Share the focal length between all cameras: one column becomes dense.
# - `ss.covariance(sol, lambda y: y["points"][:5], blocks=True)`: it names the seven directions of gauge.
