"""The parts of `python -m sparsesolve`, one a file.

A part is a function `part(n)` that solves something on a grid of `n` points a side (or of a size that follows from it),
says its figures in a few lines, and returns `draw(folder)`, which writes pictures and returns their paths.
"""

from sparsesolve.demonstration._fit import fit as fit
from sparsesolve.demonstration._linear import linear as linear
from sparsesolve.demonstration._steady import steady as steady
from sparsesolve.demonstration._stiff import stiff as stiff

PARTS = (steady, linear, stiff, fit)
