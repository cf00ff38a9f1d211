"""Backward differentiation formulas of variable order."""
