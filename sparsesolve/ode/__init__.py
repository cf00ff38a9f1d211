"""Stiff ordinary differential and differential-algebraic equations on sparse Jacobians, inside diffrax."""

from sparsesolve.ode.adjoint._adjoint import DiscreteAdjoint as DiscreteAdjoint
from sparsesolve.ode.multistep._bdf import BDF as BDF
from sparsesolve.ode.newton._stage_newton import StageNewton as StageNewton
from sparsesolve.ode.rosenbrock._rodas5p import Rodas5P as Rodas5P
from sparsesolve.ode.rosenbrock._ros34pw2 import ROS34PW2 as ROS34PW2
from sparsesolve.ode.rosenbrock._rosenbrock23 import Rosenbrock23 as Rosenbrock23
from sparsesolve.ode.runge_kutta._kencarp47 import KenCarp47 as KenCarp47
from sparsesolve.ode.runge_kutta._kvaerno5 import Kvaerno5 as Kvaerno5
from sparsesolve.ode.runge_kutta._radau5 import RadauIIA5 as RadauIIA5
from sparsesolve.ode.runge_kutta._radau9 import RadauIIA9 as RadauIIA9
from sparsesolve.ode.runge_kutta._trbdf2 import TRBDF2 as TRBDF2
from sparsesolve.ode.solve._solve_ode import solve_ode as solve_ode
from sparsesolve.ode.stepping._consistent import consistent_start as consistent_start
from sparsesolve.ode.stepping._controller import StiffController as StiffController
