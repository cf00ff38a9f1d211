# %% [markdown]
# # A curve fit with its confidence band
#
# A model with three parameters, noisy data, and out come estimates, standard errors, and a band around the curve. The
# call is SciPy's; what is new is that the fit is a JAX function: it has derivatives, and thousands run at once.
#
#     python examples/08_curve_fit.py --n 40 --out pictures

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
parser.add_argument("--n", type=int, default=40, help="data points")
parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("pictures"), help="folder for pictures")
options, _ = parser.parse_known_args()
n = options.n

# %% [markdown]
# ## Data
#
# A decay to a plateau, with noise of known size.

# %%
noise = 0.1
x = jnp.linspace(0, 4, n)
rng = np.random.default_rng(3)
y = 2.5 * jnp.exp(-1.3 * x) + 0.5 + noise * rng.standard_normal(n)


def model(x, amplitude, rate, plateau):
    return amplitude * jnp.exp(-rate * x) + plateau


# %% [markdown]
# ## The fit
#
# `absolute_sigma=True`: we know how large the noise is. Without it the residuals themselves would say.

# %%
popt, pcov, info, *_ = ss.curve_fit(model, x, y, sigma=noise, absolute_sigma=True, full_output=True)
print(info["solution"].report(absolute_sigma=True))

# %% [markdown]
# ## The band
#
# To first order the curve varies by `g^T C g` with `g` the derivative of the model by its parameters, which JAX has.

# %%
fine = jnp.linspace(0, 5, 200)
g = jax.jacfwd(lambda p: model(fine, *p))(popt)
band = 1.96 * jnp.sqrt(jnp.einsum("ij,jk,ik->i", g, pcov, g))

# %% [markdown]
# ## How much each datum matters
#
# The fitted rate is differentiable with respect to the data, by the implicit function theorem.

# %%
influence = jax.grad(lambda data: ss.curve_fit(model, x, data, sigma=noise, absolute_sigma=True)[0][1])(y)
spread = noise * jnp.linalg.norm(influence)
print(f"rate: standard error {float(jnp.sqrt(pcov[1, 1])):.4f}, from the influence of the data {float(spread):.4f}")

# %% [markdown]
# ## A certified problem
#
# NIST publishes difficult curves with answers to eleven digits. From the far start of Rat43:

# %%
problem = gallery.nist("Rat43", start=1)
sol = ss.least_squares(problem.residual, None, problem.y0, problem.args)
print(f"Rat43: {-np.log10(problem.error(sol.value)):.1f} digits in {int(sol.stats['num_residuals'])} evaluations")

# %% [markdown]
# ## Pictures

# %%
figure, axes = report.new_figure(1, 2, size=(5.0, 3.6))
curve, weights = axes[0]
curve.fill_between(fine, model(fine, *popt) - band, model(fine, *popt) + band, color=report.PALETTE[0], alpha=0.2)
curve.plot(fine, model(fine, *popt), color=report.PALETTE[0], linewidth=1.5)
curve.errorbar(x, y, noise, fmt="o", markersize=3, color=report.PALETTE[9], elinewidth=0.7)
curve.set_title("fit, 95 % band of the curve", fontsize=10)
weights.stem(x, influence, basefmt=" ")
weights.axhline(0, color="#9aa5b1", linewidth=0.6)
weights.set_title("d rate / d datum", fontsize=10)
print(f"wrote {report.save_figure(figure, options.out / '08_curve_fit.png')}")

# %% [markdown]
# ## Things to try
#
# - Replace one datum by 10 and add `loss=ss.Loss("cauchy", scale=2.0)`: the curve forgets it.
# - Give the parameters as a dict: `p0={"amplitude": 1.0, ...}` and a model `f(x, p)`.
# - `jax.vmap` over many `y`: a batch of fits in one compiled call.
# - Fit with `--n 3`: no data are left over, and the report says so.
