"""Rosenbrock and W-methods: one engine with its tableaus."""
