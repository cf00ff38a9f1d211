"""`curve_fit` has SciPy's meaning, takes pytrees, is differentiable, and says what is wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import sparsesolve as ss
from sparsesolve.least_squares._curve_fit_call import _calls

X = np.linspace(0.0, 4.0, 30)
_RNG = np.random.default_rng(0)
Y = 2.5 * np.exp(-1.3 * X) + 0.5 + 0.1 * _RNG.normal(size=30)
SIGMA = np.linspace(0.1, 0.3, 30)
BAND = np.diag(SIGMA**2) + 0.005 * np.exp(-np.abs(np.subtract.outer(X, X)))


def model(x, a, k, c):
    return a * jnp.exp(-k * x) + c


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"p0": [1, 2, 0.1]},
        {"sigma": SIGMA, "absolute_sigma": True},
        {"sigma": BAND},
        {"bounds": (0, [3.0, 1.0, 0.45])},
    ],
    ids=["plain", "p0", "absolute", "covariance", "bounds"],
)
def test_agrees_with_scipy(options):
    popt, pcov = ss.curve_fit(model, X, Y, **options)
    tight = {"ftol": 1e-14, "xtol": 1e-14, "gtol": 1e-14}
    expected = scipy.optimize.curve_fit(lambda x, a, k, c: a * np.exp(-k * x) + c, X, Y, **options, **tight)
    np.testing.assert_allclose(popt, expected[0], rtol=1e-6)
    np.testing.assert_allclose(pcov, expected[1], rtol=1e-4)


def test_default_start_with_bounds_is_that_of_scipy():
    from sparsesolve.least_squares._curve_fit import _default_start

    start = _default_start(4, ([-np.inf, 2.0, -np.inf, 0.0], [np.inf, np.inf, -3.0, 5.0]))
    np.testing.assert_array_equal(start, [1.0, 3.0, -4.0, 2.5])


def test_structures_of_parameters():
    vector, C = ss.curve_fit(model, X, Y)
    named, C_named = ss.curve_fit(lambda x, p: model(x, p["a"], p["k"], p["c"]), X, Y, {"a": 1.0, "c": 1.0, "k": 1.0})
    np.testing.assert_allclose([named["a"], named["k"], named["c"]], vector, rtol=1e-7)
    np.testing.assert_allclose(C_named, C[np.ix_([0, 2, 1], [0, 2, 1])], rtol=1e-5)
    parts, _ = ss.curve_fit(lambda x, p, c: p[0] * jnp.exp(-p[1] * x) + c, X, Y, (jnp.ones(2), 1.0))
    np.testing.assert_allclose(jnp.append(*parts), vector, rtol=1e-7)
    pair, _ = ss.curve_fit(lambda x, a, k, c: model(x["t"], a, k, c), {"t": X}, Y)
    np.testing.assert_allclose(pair, vector, rtol=1e-12)


def test_data_that_are_no_numbers_can_be_left_out():
    y, x = bad(Y), bad(X, 7)
    found = ss.curve_fit(model, x, y, sigma=SIGMA, nan_policy="omit")
    keep = np.delete(np.arange(30), [3, 7])
    expected = ss.curve_fit(model, X[keep], Y[keep], sigma=SIGMA[keep])
    np.testing.assert_array_equal(found[0], expected[0])
    pairs = ss.curve_fit(lambda x, a, b: a * x[0] + b * x[1], np.stack([x, X**2]), y, sigma=BAND, nan_policy="omit")
    tight = {"ftol": 1e-14, "xtol": 1e-14, "gtol": 1e-14}
    reference = scipy.optimize.curve_fit(
        lambda x, a, b: a * x[0] + b * x[1],
        np.stack([X, X**2])[:, keep],
        Y[keep],
        sigma=BAND[np.ix_(keep, keep)],
        **tight,
    )
    np.testing.assert_allclose(pairs[0], reference[0], rtol=1e-7)
    np.testing.assert_allclose(pairs[1], reference[1], rtol=1e-6)


def test_two_dimensional_data_in_single_precision_with_several_coordinates():
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 9), np.linspace(-1, 1, 7))).astype(np.float32)

    def bump(x, height, width):
        return height * jnp.exp(-jnp.sum(x**2, axis=0) / width**2)

    start = np.array([1.0, 1.0], np.float32)
    popt, pcov = ss.curve_fit(bump, grid, bump(grid, np.float32(3.0), np.float32(0.5)), start)
    assert popt.dtype == pcov.dtype == np.float32
    np.testing.assert_allclose(popt, [3.0, 0.5], rtol=1e-5)


def test_full_output():
    popt, _, info, message, ier = ss.curve_fit(model, X, Y, sigma=SIGMA, full_output=True)
    np.testing.assert_allclose(info["fvec"], (model(X, *popt) - Y) / SIGMA, rtol=1e-12)
    assert int(ier) == 1 and message == "converged" and int(info["nfev"]) > 3
    assert "27 degrees of freedom" in info["solution"].report()


def test_implicit_derivatives_with_respect_to_data_and_sigma():
    def fit(y, sigma):
        popt, pcov = ss.curve_fit(model, X, y, sigma=sigma)
        return jnp.concatenate([popt, jnp.sqrt(jnp.diag(pcov))])

    y, sigma = jnp.asarray(Y), jnp.asarray(SIGMA)
    forward = jax.jit(jax.jacfwd(fit, argnums=(0, 1)))(y, sigma)
    reverse = jax.jit(jax.jacrev(fit, argnums=(0, 1)))(y, sigma)
    direction = 1e-3 * jnp.cos(jnp.arange(30.0))
    for argument, (slopes, same) in enumerate(zip(forward, reverse, strict=True)):
        np.testing.assert_allclose(slopes, same, rtol=1e-6, atol=1e-10)
        ahead, behind = ([y, sigma], [y, sigma])
        ahead[argument] = ahead[argument] + direction
        behind[argument] = behind[argument] - direction
        difference = (fit(*ahead) - fit(*behind)) / 2
        np.testing.assert_allclose(slopes @ direction, difference, rtol=2e-4, atol=1e-8)


def test_derivative_with_respect_to_what_the_model_closes_over():
    def fit(power):
        return ss.curve_fit(lambda x, a, k: a * jnp.exp(-k * x**power), X, Y, [2.0, 1.0])[0]

    slope = jax.jacfwd(fit)(1.0)
    np.testing.assert_allclose(slope, (fit(1.001) - fit(0.999)) / 0.002, rtol=1e-4)


def test_a_batch_of_fits():
    rows = jnp.asarray(Y + 0.05 * _RNG.normal(size=(7, 30)))
    popt, pcov = jax.vmap(lambda y: ss.curve_fit(model, X, y))(rows)
    assert popt.shape == (7, 3) and pcov.shape == (7, 3, 3)
    alone = ss.curve_fit(model, X, rows[4])
    np.testing.assert_allclose(popt[4], alone[0], rtol=1e-7)
    np.testing.assert_allclose(pcov[4], alone[1], rtol=1e-6)


def test_fit_and_covariance_lower_for_gpus():
    def fit(y):
        return ss.curve_fit(model, X, y, sigma=SIGMA, throw=False)  # raising is a callback of one platform

    text = jax.jit(fit).trace(jnp.asarray(Y)).lower(lowering_platforms=("cuda",)).as_text()
    assert "sparsesolve_" not in text  # no compiled kernel of a CPU
    assert "stablehlo.while" in text and "callback" not in text


def test_covariance_that_cannot_be_estimated_is_infinite_and_told():
    with pytest.warns(UserWarning, match=r"in which y\[0\], y\[1\] take part"):
        popt, pcov = ss.curve_fit(lambda x, a, b: (a + b) * x, X, Y)
    assert np.all(np.isinf(pcov)) and np.all(np.isfinite(popt))
    with pytest.warns(UserWarning, match="no more data than parameters"):
        _, pcov = ss.curve_fit(lambda x, a, b: a + b * x, X[:2], Y[:2])
    assert np.all(np.isinf(pcov))


def bad(values, place=3):
    out = np.array(values)
    out[place] = np.nan
    return out


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: ss.curve_fit(model, X[:2], Y[:2]), ValueError, "2 data for 3 parameters"),
        (lambda: ss.curve_fit(model, X, bad(Y)), ValueError, r"ydata with a NaN or infinite entry at \[3\]"),
        (lambda: ss.curve_fit(model, {"t": bad(X)}, Y), ValueError, r"xdata\['t'\] with a NaN"),
        (lambda: ss.curve_fit(model, X, Y, sigma=SIGMA[:5]), ValueError, r"sigma of shape \(5,\) for 30 data"),
        (lambda: ss.curve_fit(model, X, Y, sigma=0 * SIGMA), ValueError, "not all positive"),
        (lambda: ss.curve_fit(model, X, Y, sigma=-np.eye(30)), ValueError, "not positive definite"),
        (lambda: ss.curve_fit(lambda x, *p: p[0] * x, X, Y), TypeError, "give an initial guess p0"),
        (lambda: ss.curve_fit(lambda x, a: a * x[:-1], X, Y), ValueError, r"model of shape \(29,\) for ydata"),
        (lambda: ss.curve_fit(model, X, Y, jac="2-point"), TypeError, "jac= is not needed"),
        (lambda: ss.curve_fit(model, X, Y, [1.0, 1.0, 1.0], bounds=(2.0, 3.0)), ValueError, "outside the bounds"),
        (lambda: ss.curve_fit(model, X, Y, [1.0, 1.0, 1.0], bounds=(1.0, 0.5)), ValueError, "above the upper bound"),
        (lambda: ss.curve_fit(model, X, Y, [1.0, 1.0, 1.0], max_steps=1), RuntimeError, "max_steps=1\\) and had not"),
        (lambda: ss.curve_fit(model, X, Y, method="lm"), TypeError, "one method serves with and without bounds"),
        (lambda: ss.curve_fit(model, X, Y, maxfev=9), TypeError, "write max_steps="),
        (lambda: ss.curve_fit(model, X, Y, colour=9), TypeError, "colour; beyond SciPy's arguments it takes hessian"),
        (lambda: ss.curve_fit(model, X, Y, nan_policy="drop"), ValueError, "nan_policy='drop'"),
        (lambda: jax.jit(lambda y: ss.curve_fit(model, X, y, nan_policy="omit"))(Y), TypeError, "traced data"),
    ],
)
def test_bad_calls_are_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_a_second_call_is_recognized_and_never_stale():
    x = np.linspace(0.0, 3.0, 20)
    rate = 1.0

    def decay(x, a, c):
        return a * jnp.exp(-rate * x) + c

    def fit(data):
        return ss.curve_fit(decay, x, data, [1.0, 0.0])[0]

    _calls.clear()
    np.testing.assert_allclose(fit(2 * np.exp(-x) + 1), [2.0, 1.0], rtol=1e-9)
    np.testing.assert_allclose(fit(3 * np.exp(-x) - 1), [3.0, -1.0], rtol=1e-9)
    assert (_calls.hits, _calls.misses) == (1, 1)
    rate = 2.0
    np.testing.assert_allclose(fit(3 * np.exp(-2 * x) - 1), [3.0, -1.0], rtol=1e-9)
    assert _calls.misses == 2
    with pytest.raises(ValueError, match="NaN or infinite"):
        fit(np.full(20, np.nan))
