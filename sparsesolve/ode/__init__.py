"""Stiff ordinary differential and differential-algebraic equations on sparse Jacobians, inside diffrax."""
