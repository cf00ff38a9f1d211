"""Strict settings for all tests: 64-bit, no silent promotion of ranks. Tests of 32-bit behaviour cast explicitly."""

import gc

import jax
import pytest

import sparsesolve as ss

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(autouse=True, scope="module")
def _compiled_code_is_dropped():
    """Compiled programs are memory maps, and Linux grants a process 65,530 of them: one run of all tests needs more."""
    yield
    jax.clear_caches()
    ss.clear_caches()
    gc.collect()
