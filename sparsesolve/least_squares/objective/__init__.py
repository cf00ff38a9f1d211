"""What is minimised: residuals whitened, made robust by a loss, and constrained."""
