"""Many problems at once: a solve mapped over a batch, where lanes that have ended make room for others."""

from sparsesolve.ensemble._solve_ensemble import solve_ensemble as solve_ensemble
