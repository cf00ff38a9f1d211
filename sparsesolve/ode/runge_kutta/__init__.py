"""Implicit Runge-Kutta methods: one ESDIRK engine with its tableaus, and Radau IIA."""
