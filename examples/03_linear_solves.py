# %% [markdown]
# # Sparse linear systems
#
# Heat is carried by a wind and diffuses: one linear system with a five-point stencil. We solve it directly inside
# `jit`, for many winds at once, differentiate the solution, and keep the factors over many time steps. Then a
# three-dimensional problem, where multigrid takes over. Run the file, or its cells one by one:
#
#     python examples/03_linear_solves.py --n 128 --out pictures

# %%
import argparse
import pathlib

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import scipy.sparse.linalg

import sparsesolve as ss
from sparsesolve import gallery, report

jax.config.update("jax_enable_x64", True)

parser = argparse.ArgumentParser()
parser.add_argument("--n", type=int, default=128, help="grid points a side")
parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("pictures"), help="folder for pictures")
options, _ = parser.parse_known_args()
n = options.n

# %% [markdown]
# ## A matrix is a pattern and values
#
# The pattern is fixed and planned for once; the values are an ordinary JAX array. Here they depend on the wind:
# `values(wind)` is linear in it.

# %%
still = ss.SparseMatrix.from_scipy(gallery.convection_diffusion(n, n, velocity=0.0))
windy = ss.SparseMatrix.from_scipy(gallery.convection_diffusion(n, n, velocity=1.0))
pattern = windy.pattern
source = jnp.full(n * n, 1.0 / (n + 1) ** 2)


def operator(wind):
    return ss.SparseLinearOperator(ss.SparseMatrix(still.data + wind * (windy.data - still.data), pattern))


# %% [markdown]
# ## A direct solve
#
# `AutoSparse` looks at the pattern and chooses; `explain` says what it would do. Any lineax operator will do, not only
# sparse matrices: Jacobians and functions are detected and coloured.

# %%
ss.AutoSparse().explain(pattern)
solution = lx.linear_solve(operator(20.0), source, ss.AutoSparse())
u = solution.value
print(f"hottest point {float(u.max()):.5f}, backward error {float(solution.stats['backward_error']):.1e}")

# %% [markdown]
# ## Under jit, vmap and grad
#
# The plan belongs to the pattern, so everything else is traced. With the wind as an argument, one compiled function
# serves all winds, `vmap` solves for several at once, and the gradient costs one more solve with the same factors.


# %%
@jax.jit
def hottest(wind):
    return jnp.max(lx.linear_solve(operator(wind), source, ss.AutoSparse()).value)


winds = jnp.array([0.0, 10.0, 20.0, 40.0])
for wind, value in zip(winds, jax.vmap(hottest)(winds), strict=True):
    print(f"  wind {float(wind):4.0f}: hottest {float(value):.5f}")
slope = jax.grad(hottest)(20.0)
difference = (hottest(20.001) - hottest(19.999)) / 0.002
print(f"d hottest / d wind at 20: {float(slope):.8f} by the adjoint, {float(difference):.8f} by differences")

# %% [markdown]
# ## Factors that are kept
#
# Implicit Euler steps of `u' = source - A u` have one matrix, `I + dt A`. The solver's `init` factorizes it; the state
# is a pytree of arrays and travels through `lax.scan`, `while_loop` or across calls. Each step is a pair of triangular
# solves and a check of the residual.

# %%
step = 0.05 * (n + 1) ** 2 * float(u.mean())
matrix = operator(20.0).matrix
implicit = ss.SparseLinearOperator((matrix * step).shifted(1.0))


@jax.jit
def evolve(start):
    solver = ss.AutoSparse()
    state = solver.init(implicit, {})

    def advance(u, _):
        new, _, stats = solver.compute(state, u + step * source, {})
        return new, (jnp.max(new), stats["backward_error"])

    return jax.lax.scan(advance, start, None, length=60)


final, (maxima, errors) = evolve(jnp.zeros(n * n))
print(
    f"60 steps, one factorization: hottest {float(maxima[-1]):.5f}, largest backward error {float(errors.max()):.1e}, "
    f"{float(jnp.abs(final - u).max() / u.max()):.0%} from the steady state"
)

# %% [markdown]
# ## Three dimensions: conjugate gradients and multigrid
#
# In three dimensions factors grow fast, and iterations win. `I + c L` is what an implicit step of diffusion asks for:
# the larger `c`, the harder. Algebraic multigrid (`AMG`) plans its levels on the host from sample values and computes
# all their numbers inside `jit`; its steps hardly depend on `c`.

# %%
side = max(8, n // 4)
laplacian = ss.SparseMatrix.from_scipy(gallery.convection_diffusion(side, side, side, velocity=0.0))
rhs = jnp.asarray(np.random.default_rng(0).standard_normal(side**3))


def diffusion(c):
    shifted = (laplacian * c).shifted(1.0)
    return ss.SparseLinearOperator(shifted, lx.positive_semidefinite_tag)


solvers = {
    "CG": ss.CG(),
    "CG + Jacobi": ss.CG(preconditioner=ss.Jacobi()),
    "CG + AMG": ss.CG(preconditioner=ss.AMG()).prepare(laplacian.pattern, diffusion(100.0).matrix.data),
}
strengths = (1.0, 10.0, 1e2, 1e3, 1e4)
steps = {name: [] for name in solvers}
for name, solver in solvers.items():
    for c in strengths:
        solution = lx.linear_solve(diffusion(c), rhs, solver)
        assert float(jnp.linalg.norm(diffusion(c).mv(solution.value) - rhs) / jnp.linalg.norm(rhs)) < 1e-9
        steps[name].append(int(solution.stats["num_steps"]))
    print(f"  {name:12s} steps for c = 1 ... 1e4: {steps[name]}")

# %% [markdown]
# ## Pictures
#
# What an order of elimination saves: the factors of the same matrix, row by row and by minimum degree. (SciPy's
# `splu` shows them to us; the factors of this package are blocks in an array.)

# %%
small = min(n, 24)
csc = gallery.convection_diffusion(small, small).tocsc()
figure, axes = report.new_figure(2, 3)
for axis, order, label in ((axes[0, 0], "NATURAL", "row by row"), (axes[0, 1], "MMD_AT_PLUS_A", "minimum degree")):
    lu = scipy.sparse.linalg.splu(csc, permc_spec=order)
    factors = (abs(lu.L) + abs(lu.U)).tocsr()
    report.spy(factors, title=f"L + U, {label}: {factors.nnz:,} entries", ax=axis)
x = jnp.linspace(0, 1, n + 2)[1:-1]
report.plot_field(u.reshape(n, n), (x, x), title="u in a wind of 20", cmap="magma", contours=8, ax=axes[0, 2])
report.plot_field(final.reshape(n, n), (x, x), title="after 60 steps", cmap="magma", contours=8, ax=axes[1, 0])
axes[1, 1].plot(maxima, color=report.PALETTE[0], linewidth=1.3)
axes[1, 1].axhline(float(u.max()), color=report.PALETTE[1], linewidth=1, linestyle="--")
axes[1, 1].set_xlabel("step", fontsize=9)
axes[1, 1].set_title("hottest point, and where it goes", fontsize=10)
for color, (name, counts) in zip(report.PALETTE, steps.items(), strict=False):
    axes[1, 2].semilogx(strengths, counts, "o-", color=color, markersize=4, linewidth=1.3, label=name)
axes[1, 2].set_xlabel("c", fontsize=9)
axes[1, 2].set_ylim(bottom=0)
axes[1, 2].set_title(f"steps for I + c L, {side**3:,} unknowns", fontsize=10)
axes[1, 2].legend(fontsize=8, frameon=False)
print(f"wrote {report.save_figure(figure, options.out / '03_linear_solves.png')}")

# %% [markdown]
# ## Things to try
#
# - `gallery.circuit(5000)` or `gallery.stokes(40)` instead of the grid: what does `explain` choose, and why?
# - `ss.SparseLU()` and `ss.Banded()` instead of `ss.AutoSparse()`.
# - A wind of 1e4: the matrix loses its dominant diagonal, and the backward error stays at rounding level.
# - `ss.GMRES(preconditioner=ss.AMG())` for the windy problem.
# - `jax.hessian(hottest)`: second derivatives are two more solves, with the same factors.
