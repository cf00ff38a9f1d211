# %% [markdown]
# # Where was the robot? Pose graphs before and after
#
# A robot measures how it moves from pose to pose. Added up, these measurements drift away; where it comes back to a
# place it knows, a closure says so. Least squares reconciles all of them.
#
#     python examples/10_pose_graph.py --n 400 --out pictures [--file input_M3500_g2o.g2o]

# %%
import argparse
import pathlib

import jax
import numpy as np

import sparsesolve as ss
from sparsesolve import gallery, report

jax.config.update("jax_enable_x64", True)

parser = argparse.ArgumentParser()
parser.add_argument("--n", type=int, default=400, help="poses of the walk")
parser.add_argument("--file", type=pathlib.Path, default=None, help="a planar pose graph in the g2o format")
parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("pictures"), help="folder for pictures")
options, _ = parser.parse_known_args()

# %% [markdown]
# ## In the plane
#
# Three numbers a pose: x, y and an angle. The residual of a measurement reads two poses.

# %%
plane = gallery.read_g2o(options.file) if options.file else gallery.manhattan_walk(options.n)
print(plane)
walk = ss.least_squares(plane.residual, None, plane.y0, plane.args)
print(f"{int(walk.stats['num_steps'])} steps, chi^2 {2 * float(walk.stats['cost']):.6g}")

# %% [markdown]
# ## In space
#
# Orientations are unit quaternions: four numbers, three ways to turn. A retraction says how a small turn moves one.
# `ss.SO3` and `ss.SE3` are such retractions; the problem of the gallery brings its own.

# %%
space = gallery.sphere_walk(max(options.n // 40, 3), 20, noise=0.05)
print(space)
orbit = ss.least_squares(space.residual, None, space.y0, space.args, retract=space.retract)
print(f"{int(orbit.stats['num_steps'])} steps, chi^2 {2 * float(orbit.stats['cost']):.6g}, expected {space.cost:.6g}")

# %% [markdown]
# ## How well is each pose known?
#
# Uncertainty grows with the distance from the first pose, which is held, and shrinks at closures. The blocks of all
# poses come from the selected inverse of one sparse factorization; the whole covariance is never formed.

# %%
blocks = ss.covariance(walk, lambda y: y, blocks=True, absolute_sigma=True)
radii = np.sqrt(np.trace(blocks[:, :2, :2], axis1=1, axis2=2))
print(f"standard error of a position: {radii.min():.3f} to {radii.max():.3f} among {len(radii)} poses")

# %% [markdown]
# ## Pictures

# %%
figure, axes = report.new_figure(1, 4, size=(3.6, 3.6))
for ax, poses, title in ((axes[0, 0], plane.y0, "odometry"), (axes[0, 1], walk.value, "least squares")):
    ax.plot(poses[:, 0], poses[:, 1], color=report.PALETTE[0], linewidth=0.9)
    ax.set_aspect("equal", adjustable="datalim")
    ax.set_title(title, fontsize=10)
for ax, poses, title in ((axes[0, 2], space.y0, "odometry"), (axes[0, 3], orbit.value, "least squares")):
    position = np.asarray(poses["position"])
    ax.plot(position[:, 0] + 0.3 * position[:, 1], position[:, 2], color=report.PALETTE[3], linewidth=0.9)
    ax.set_aspect("equal", adjustable="datalim")
    ax.set_title(f"in space: {title}", fontsize=10)
print(f"wrote {report.save_figure(figure, options.out / '10_pose_graph.png')}")

# %% [markdown]
# ## Things to try
#
# - `--file` with one of the public sets: M3500, intel (planar).
# - Falsify a few closures in `plane.args["displacement"]` and write `loss=ss.Loss("cauchy", scale=3.0, block=3)`.
# - `gallery.read_g2o` of sphere2500, with `retract=problem.retract`: chi^2 1351.4019.
# - Write the residual of the second problem with `ss.SE3().between` and `ss.SE3().log`.
