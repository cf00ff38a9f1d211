"""The iteration all solvers share: the prepared problem, the loop and its lanes, the derivatives of its result."""
