from sparsesolve.pattern._pattern import SparsityPattern as SparsityPattern
