# %% [markdown]
# # A circuit: differential and algebraic equations
#
# Kirchhoff's current law at the eight nodes of a two-stage transistor amplifier, `M y' = f(t, y)`: the capacitors make
# the matrix `M`, and as there are only five of them, it has rank 5. Three equations hold without any derivative. Run
# the file, or its cells one by one:
#
#     python examples/06_transistor_amplifier.py --n 1000 --out pictures

# %%
import argparse
import pathlib
import warnings

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np

import sparsesolve as ss
from sparsesolve import gallery, report

jax.config.update("jax_enable_x64", True)

parser = argparse.ArgumentParser()
parser.add_argument("--n", type=int, default=1000, help="times to save at")
parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("pictures"), help="folder for pictures")
options, _ = parser.parse_known_args()

# %% [markdown]
# ## The circuit
#
# The gallery has it, with its published end value. `mass` is a plain matrix.

# %%
problem = gallery.transistor_amplifier()
print(problem.description)
print(f"rank of the mass matrix: {np.linalg.matrix_rank(problem.mass)} of {problem.num_unknowns}")

# %% [markdown]
# ## The integration
#
# `solve_ode` checks that the start solves the algebraic equations, then takes `Rodas5P`, which solves them in every
# step: it is stiffly accurate.

# %%
ts = jnp.linspace(0.0, problem.t1, options.n)


def amplify(amplitude, rtol=1e-5):
    args = {**problem.args, "amplitude": amplitude}
    return ss.solve_ode(
        problem.rhs, 0.0, problem.t1, problem.y0, args, mass=problem.mass, rtol=rtol, atol=1e-7,
        saveat=dfx.SaveAt(ts=ts),
    )  # fmt: skip


sol = amplify(0.1)
print(f"{int(sol.stats['num_steps'])} steps, {int(sol.stats['num_rejected_steps'])} rejected")
print(f"digits of the published end value: {problem.digits(sol.ys[-1]):.1f}")

# %% [markdown]
# ## A start that does not solve the algebraic equations is corrected, and told
#
# `inconsistent="refuse"` raises instead, `"keep"` starts as given.

# %%
wrong = problem.y0.at[0].add(1.0)
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    ss.solve_ode(problem.rhs, 0.0, 1e-3, wrong, problem.args, mass=problem.mass)
print(*(entry.message for entry in told), sep="\n")

# %% [markdown]
# ## How the output answers to the input
#
# Forward-mode derivatives go through the steps, the algebraic equations included.

# %%
quarter = 0.025


def output(amplitude):
    args = {**problem.args, "amplitude": amplitude}
    end = ss.solve_ode(
        problem.rhs, 0.0, quarter, problem.y0, args, mass=problem.mass, rtol=1e-6, atol=1e-8,
        adjoint=dfx.ForwardMode(), throw=False,
    )  # fmt: skip
    return end.ys[0, 7]


_, slope = jax.jit(lambda a: jax.jvp(output, (a,), (jnp.ones_like(a),)))(jnp.asarray(0.1))
print(f"d output / d amplitude at t = {quarter}: {float(slope):.3f}")

# %% [markdown]
# ## Pictures

# %%
figure, axes = report.new_figure(1, 2)
for ax, (name, node) in zip(axes[0], (("input node", 0), ("output node", 7)), strict=True):
    ax.plot(ts, sol.ys[:, node], color=report.PALETTE[node % 5], linewidth=1.2)
    ax.set_xlabel("t in seconds", fontsize=9)
    ax.set_ylabel("volts", fontsize=9)
    ax.set_title(name, fontsize=10)
print(f"wrote {report.save_figure(figure, options.out / '06_transistor_amplifier.png')}")

# %% [markdown]
# ## Things to try
#
# - `amplify(0.4)`: the transistors saturate and the output is cut.
# - `solver=ss.BDF()`: fewer factorizations, more steps.
# - `gallery.chemical_akzo()`: a diagonal mass matrix with one zero.
# - Add a capacitor: put an entry on the diagonal of `mass` where it is zero.
