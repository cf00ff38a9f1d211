from sparsesolve.jacobian._hessian import hessian as hessian
from sparsesolve.jacobian._jacobian import SparseJacobian as SparseJacobian, jacobian as jacobian
from sparsesolve.jacobian._plan import Invariants as Invariants
