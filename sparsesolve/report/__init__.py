"""Pictures and tables: patterns, colourings, fields, convergence. matplotlib is imported inside the functions."""

from sparsesolve.report._convergence import plot_convergence as plot_convergence
from sparsesolve.report._field import plot_field as plot_field
from sparsesolve.report._figure import PALETTE as PALETTE, new_figure as new_figure, save_figure as save_figure
from sparsesolve.report._spy import spy as spy
from sparsesolve.report._table import iteration_table as iteration_table, text_table as text_table
from sparsesolve.report._work_precision import plot_work_precision as plot_work_precision
