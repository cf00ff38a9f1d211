from sparsesolve.matrix import _lineax_rules as _lineax_rules
from sparsesolve.matrix._base import AbstractLayout as AbstractLayout
from sparsesolve.matrix._matrix import SparseMatrix as SparseMatrix
from sparsesolve.matrix._operator import SparseLinearOperator as SparseLinearOperator
from sparsesolve.matrix._prepared import Product as Product
from sparsesolve.matrix._primitive import product_jaxpr as product_jaxpr
from sparsesolve.matrix._product import matvec as matvec, product_plan as product_plan
