"""The stiff system that a solver sees: flat right-hand side, sparse Jacobian, mass matrix, weights."""
