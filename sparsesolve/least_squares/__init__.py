"""Nonlinear least squares: sums of squared residuals made least with sparse Jacobians, differentiable."""

from sparsesolve.least_squares._dogleg import Dogleg as Dogleg
from sparsesolve.least_squares._gauss_newton import GaussNewton as GaussNewton
from sparsesolve.least_squares._least_squares import least_squares as least_squares
from sparsesolve.least_squares._levenberg_marquardt import LevenbergMarquardt as LevenbergMarquardt
from sparsesolve.least_squares._results import RESULTS as RESULTS
