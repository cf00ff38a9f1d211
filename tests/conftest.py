"""Strict settings for all tests: 64-bit, no silent promotion of ranks. Tests of 32-bit behaviour cast explicitly."""

import gc
import pathlib

import jax
import pytest

import sparsesolve as ss

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_traceback_in_locations_limit", 0)  # nobody reads them; they take 3 % of lowering and compiling

# Tracing makes objects by the million; looking through all that was imported for garbage took a tenth of the time.
gc.collect()
gc.freeze()
gc.set_threshold(50_000, 20, 20)


@pytest.fixture(autouse=True, scope="module")
def _compiled_code_is_dropped():
    """Compiled programs are memory maps, and Linux grants a process 65,530 of them: one run of all tests needs more.

    They are kept until a sixth of them (3 GB) are taken, for modules share small programs, and some large ones.
    """
    yield
    if _memory_maps() > 10_000:
        jax.clear_caches()
        ss.clear_caches()
        gc.collect()


def _memory_maps() -> int:
    maps = pathlib.Path("/proc/self/maps")
    return maps.read_text().count("\n") if maps.exists() else 65_530
