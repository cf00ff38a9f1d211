"""Nonlinear least squares: sums of squared residuals made least with sparse Jacobians, differentiable."""

from sparsesolve.least_squares._curve_fit import curve_fit as curve_fit
from sparsesolve.least_squares._graduated import graduated_non_convexity as graduated_non_convexity
from sparsesolve.least_squares._least_squares import least_squares as least_squares
from sparsesolve.least_squares.iteration._results import RESULTS as RESULTS
from sparsesolve.least_squares.manifolds._manifolds import ProductManifold as ProductManifold
from sparsesolve.least_squares.manifolds._poses import SE2 as SE2, SE3 as SE3
from sparsesolve.least_squares.manifolds._rotations import SO2 as SO2, SO3 as SO3
from sparsesolve.least_squares.objective._losses import Loss as Loss
from sparsesolve.least_squares.solvers._dogleg import Dogleg as Dogleg
from sparsesolve.least_squares.solvers._gauss_newton import GaussNewton as GaussNewton
from sparsesolve.least_squares.solvers._levenberg_marquardt import LevenbergMarquardt as LevenbergMarquardt
from sparsesolve.least_squares.statistics._covariance import (
    covariance as covariance,
    standard_errors as standard_errors,
)
