"""The damped linear least-squares step: dense, normal equations, Schur complement, conjugate gradients."""
