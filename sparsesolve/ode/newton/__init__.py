"""Newton's method on stages and steps: when to renew the Jacobian and the factors, and its derivatives."""
