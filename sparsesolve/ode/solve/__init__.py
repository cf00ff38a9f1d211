"""`solve_ode`: choice of the solver, checks of the input, and what is said of a failure."""
