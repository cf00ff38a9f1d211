"""Stiff ordinary differential and differential-algebraic equations on sparse Jacobians, inside diffrax."""

from sparsesolve.ode._rodas5p import Rodas5P as Rodas5P
from sparsesolve.ode._rosenbrock23 import Rosenbrock23 as Rosenbrock23
