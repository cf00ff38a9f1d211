"""A spectrum as the sum of many peaks: heights, positions and widths of all at once, with a banded Jacobian.

    s(x) = sum_k h_k exp(-((x - c_k) / w_k)^2 / 2) + b_0 + b_1 x / K

The peaks start one unit apart and are narrow, so a sample reads only the `reach` peaks on each side of it (beyond, a
Gaussian of width 0.25 is below 1e-17): 3 (2 reach + 1) entries a row, plus the two columns of the baseline.

Reference: P. C. Hansen, V. Pereyra, G. Scherer, Least Squares Data Fitting with Applications (2013), section 8.2
(peaks in spectra).
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from sparsesolve.gallery._fit_problem import FitProblem

_REACH = 2


def spectral_peaks(num_peaks: int, samples: int = 12, noise: float = 0.0, seed: int = 0) -> FitProblem:
    """Fits `num_peaks` Gaussian peaks on a straight baseline to a sampled spectrum.

    Args:
        num_peaks: `3 num_peaks + 2` unknowns; at least 5.
        samples: of the spectrum per peak; at least 6.
        noise: standard deviation of the samples; peaks are 1 to 3 high. Without it the least cost is 0, at `solution`.
        seed: of peaks and noise.

    Returns:
        A `FitProblem` with `y0` a dict of `peaks` `(num_peaks, 3)`, each row height, position and width, and
        `baseline` `(2,)`; `args` has the sample positions `x` and the spectrum `y`.

    Raises:
        ValueError: too few peaks or samples.

    Example:
        >>> from sparsesolve import gallery
        >>> gallery.spectral_peaks(100)
        FitProblem(100 peaks, 302 parameters: sum of Gaussians and a straight baseline, 1200 samples)
    """
    if num_peaks < 2 * _REACH + 1 or samples < 6:
        raise ValueError(
            f"spectral_peaks got num_peaks={num_peaks} and samples={samples}; write {2 * _REACH + 1} peaks or more, "
            "and 6 samples a peak or more."
        )
    rng = np.random.default_rng(seed)
    centres = np.arange(num_peaks) + 0.5
    x = (np.arange(num_peaks * samples) + 0.5) / samples
    nearest = np.clip(np.floor(x).astype(np.int32), _REACH, num_peaks - 1 - _REACH)
    near = nearest[:, None] + np.arange(-_REACH, _REACH + 1, dtype=np.int32)
    height, width = rng.uniform(1.0, 3.0, num_peaks), rng.uniform(0.15, 0.25, num_peaks)
    truth = {
        "peaks": jnp.asarray(np.stack([height, centres + rng.uniform(-0.1, 0.1, num_peaks), width], axis=1)),
        "baseline": jnp.asarray([0.5, 0.3]),
    }

    def residual(y: dict[str, Any], args: dict[str, Any]) -> Any:
        height, centre, width = (y["peaks"][near, i] for i in range(3))
        along = args["x"][:, None]
        peaks = jnp.sum(height * jnp.exp(-0.5 * ((along - centre) / width) ** 2), axis=1)
        return peaks + y["baseline"][0] + y["baseline"][1] * args["x"] / num_peaks - args["y"]

    clean = residual(truth, {"x": jnp.asarray(x), "y": 0.0})
    start = np.stack([np.full(num_peaks, 2.0), centres, np.full(num_peaks, 0.2)], axis=1)
    return FitProblem(
        name=f"{num_peaks} peaks",
        residual=residual,
        y0={"peaks": jnp.asarray(start), "baseline": jnp.zeros(2)},
        args={"x": jnp.asarray(x), "y": clean + noise * rng.standard_normal(len(x))},
        error=lambda y: float(np.max(np.abs(np.asarray(y["peaks"]) - np.asarray(truth["peaks"])))),
        description=f"sum of Gaussians and a straight baseline, {len(x)} samples",
        source="made from known peaks; largest difference from their heights, positions and widths",
        cost=noise**2 * (len(x) - 3 * num_peaks - 2),
        solution=truth,
    )
