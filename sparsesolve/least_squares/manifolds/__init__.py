"""Parameters on manifolds: rotations and rigid motions."""
