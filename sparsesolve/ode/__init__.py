"""Stiff ordinary differential and differential-algebraic equations on sparse Jacobians, inside diffrax."""

from sparsesolve.ode._bdf import BDF as BDF
from sparsesolve.ode._consistent import consistent_start as consistent_start
from sparsesolve.ode._controller import StiffController as StiffController
from sparsesolve.ode._kencarp47 import KenCarp47 as KenCarp47
from sparsesolve.ode._kvaerno5 import Kvaerno5 as Kvaerno5
from sparsesolve.ode._radau import RadauIIA5 as RadauIIA5
from sparsesolve.ode._rodas5p import Rodas5P as Rodas5P
from sparsesolve.ode._rosenbrock23 import Rosenbrock23 as Rosenbrock23
from sparsesolve.ode._solve_ode import solve_ode as solve_ode
from sparsesolve.ode._stage_newton import StageNewton as StageNewton
from sparsesolve.ode._trbdf2 import TRBDF2 as TRBDF2
