"""The solvers a user names."""
