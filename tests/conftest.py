"""Strict settings for all tests: 64-bit, no silent promotion of ranks. Tests of 32-bit behaviour cast explicitly."""

import jax

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
