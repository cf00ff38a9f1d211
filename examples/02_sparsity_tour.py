# %% [markdown]
# # A tour of sparse Jacobians
#
# Which inputs does each output of a function read? How few derivatives give the whole Jacobian? This tour looks at the
# layers below the solvers: patterns, colourings, compressed Jacobians, sparse matrices.
#
#     python examples/02_sparsity_tour.py --n 24 --out pictures

# %%
import argparse
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

import sparsesolve as ss
from sparsesolve import gallery, report

jax.config.update("jax_enable_x64", True)

parser = argparse.ArgumentParser()
parser.add_argument("--n", type=int, default=24, help="grid points a side")
parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("pictures"), help="folder for pictures")
options, _ = parser.parse_known_args()
n = options.n

# %% [markdown]
# ## Detection
#
# `detect_sparsity` reads the program of the derivative, not its values: the pattern holds for all arguments. Here is a
# chain of springs, each attached to its neighbours. The repr of a pattern is a picture.


# %%
def springs(x):
    stretch = jnp.diff(x, prepend=0.0, append=1.0)
    force = stretch + stretch**3
    return force[1:] - force[:-1]


print(ss.detect_sparsity(springs, jnp.zeros(40)))

# %% [markdown]
# ## Colouring
#
# Columns that share no row can be computed together, in one product with the Jacobian. A colouring says which. On grids
# it is a lattice, repeated like a wallpaper, and the number of colours is the size of the stencil: nothing less is
# possible, since the entries of a row all need different colours.

# %%
bratu = gallery.bratu_2d(n)
pattern = ss.detect_sparsity(bratu.residual, bratu.y0, bratu.args)
coloring = ss.color(pattern)
ss.check_coloring(pattern, coloring)
print(f"5-point stencil: {coloring}")

mesh = gallery.fem_diffusion(n)
mesh_pattern = ss.detect_sparsity(mesh.residual, mesh.y0, mesh.args)
mesh_coloring = ss.color(mesh_pattern)
print(f"finite elements on a Delaunay mesh: {mesh_coloring}")

# %% [markdown]
# The checker does not only say no. It names a witness:

# %%
wrong = np.array(coloring.colors)
wrong[1] = wrong[0]
try:
    ss.check_coloring(pattern, type(coloring)("column", wrong, None))
except ValueError as error:
    print(f"two columns of one colour: {error}")

# %% [markdown]
# ## Jacobians
#
# `jacobian` goes a step further: the linear part of a function has a constant Jacobian, and only the nonlinear core
# needs derivatives. Of Bratu's five-point stencil only `exp(u)` remains, one colour instead of five.

# %%
rows = []
for problem in (bratu, gallery.brusselator(n), gallery.reaction_diffusion(n), mesh, gallery.cavity(2 * (n // 2) + 1)):
    jac = ss.jacobian(problem.residual, problem.y0, problem.args)
    whole = ss.color(jac.pattern).num_colors
    rows.append([problem.name, f"{jac.shape[1]:,}", f"{jac.pattern.nnz:,}", str(whole), str(jac.num_colors)])
print(report.text_table(["problem", "unknowns", "nnz", "colours", "after peeling"], rows))

# %% [markdown]
# A prepared Jacobian is called like the function. The result is a `SparseMatrix`: values in CSR order that live in JAX,
# a pattern that does not. It multiplies, transposes, adds, and converts.

# %%
jac = ss.jacobian(bratu.residual, bratu.y0, bratu.args)
J = jac(bratu.y0, bratu.args)
v = jnp.ones(J.shape[1])
_, product = jax.jvp(lambda u: bratu.residual(u, bratu.args), (bratu.y0,), (v.reshape(n, n),))
print(f"J @ v against jax.jvp: {float(jnp.abs(J @ v - product.ravel()).max()):.1e}")
print(f"SciPy: {J.to_scipy().shape}, transposed product {float(jnp.abs(J.T @ v - v @ J).max()):.1e}")

# %% [markdown]
# ## Hessians
#
# A Hessian is symmetric, so its colouring may use either of two mirrored entries. The p-Laplacian is the minimum of an
# energy; `hessian` differentiates the energy itself.

# %%
energy = gallery.p_laplacian(n)
hessian = ss.hessian(gallery.p_laplacian_energy, energy.y0, energy.args)
H = hessian(energy.y0, energy.args)
print(f"Hessian of an energy: {H.shape}, {H.pattern.nnz:,} entries, {hessian.num_colors} colours")

# %% [markdown]
# ## Arrow shapes
#
# One equation that reads all unknowns makes a dense row: all columns meet there, and a column colouring needs as many
# colours as there are columns. Rows and columns together need three or four.


# %%
def with_average(u):
    return jnp.concatenate([jnp.mean(u)[None] - 1.0, jnp.sin(u[1:]) * u[:-1]])


arrow = ss.detect_sparsity(with_average, jnp.ones(60))
both = ss.color(arrow, "bidirectional")
print(f"a dense row: columns alone {ss.color(arrow).num_colors}, both {both.num_colors}")

# %% [markdown]
# ## Pictures

# %%
figure, axes = report.new_figure(2, 3)
report.plot_field(
    coloring.colors.reshape(n, n),
    categories=True,
    title=f"5-point stencil: {coloring.num_colors} colours",
    ax=axes[0, 0],
)
report.spy(pattern, coloring=coloring, window=(0, 3 * n), title="its Jacobian, a corner", ax=axes[0, 1])
report.spy(arrow, coloring=both, title=f"a dense row: {both.num_colors} colours", ax=axes[0, 2])
nodes, triangles = mesh.points
axes[1, 0].triplot(*nodes.T, triangles, color="#c9d1d9", linewidth=0.4)
marks = [report.PALETTE[color % len(report.PALETTE)] for color in mesh_coloring.colors]
axes[1, 0].scatter(*nodes.T, c=marks, s=9000 / n**2, zorder=3)
axes[1, 0].set_title(f"Delaunay mesh: {mesh_coloring.num_colors} colours", fontsize=10)
axes[1, 0].set_aspect("equal")
report.spy(mesh_pattern, coloring=mesh_coloring, window=(0, 3 * n), title="its Jacobian, a corner", ax=axes[1, 1])
species = gallery.reaction_diffusion(max(6, n // 3))
species_pattern = ss.detect_sparsity(species.residual, species.y0, species.args)
report.spy(species_pattern, title="six species that react and diffuse", ax=axes[1, 2])
print(f"wrote {report.save_figure(figure, options.out / '02_sparsity_tour.png')}")

# %% [markdown]
# ## Things to try
#
# - Other functions: `jnp.cumsum`, `jnp.sort`, `jnp.fft.fft`, a `lax.scan`, a convolution. Which are dense, and where?
# - `ss.color(pattern, "row")` and `ss.color(pattern, "symmetric")`: fewer colours, or more?
# - Give `ss.jacobian(..., sparsity=pattern)` a pattern that misses an entry. Its probes find out, and name the entry.
# - `jax.grad` through `jac(u, args).data.sum()`: second derivatives, still sparse.
