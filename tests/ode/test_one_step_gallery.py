"""One-step methods on the gallery's problems: digits follow the tolerance, from the first step that is chosen."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsesolve import gallery
from sparsesolve.ode import TRBDF2, KenCarp47, Kvaerno5, Rodas5P, Rosenbrock23, solve_ode

FINE = (1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9)
ROUGH = (1e-4, 1e-5)  # what methods of order 2 are for
FAST = [
    *((Kvaerno5, name, FINE) for name in ("hires", "orego")),
    (KenCarp47, "hires", FINE),
    (Rodas5P, "orego", FINE),
    *((method, "orego", ROUGH) for method in (TRBDF2, Rosenbrock23)),
]
SLOW = [
    *((Kvaerno5, name, FINE) for name in ("van_der_pol", "pollu", "transistor_amplifier")),
    *((KenCarp47, name, FINE) for name in ("orego", "transistor_amplifier")),
    *((Rodas5P, name, FINE) for name in ("rober", "chemical_akzo")),
    *((TRBDF2, name, ROUGH) for name in ("chemical_akzo",)),
]
CASES = [*FAST, *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW)]


def solved(problem, method, rtol):
    """A second tolerance takes the compiled code of the first."""
    atol = jax.tree.map(lambda size: jnp.asarray(size) * rtol, problem.scale)
    sol = solve_ode(
        problem.rhs,
        problem.t0,
        problem.t1,
        problem.y0,
        problem.args,
        solver=method(),
        rtol=rtol,
        atol=atol,
        mass=problem.mass,
        jump_ts=problem.jump_ts or None,
    )
    return jax.tree.map(lambda leaf: leaf[0], sol.ys), sol


@pytest.mark.parametrize(("method", "name", "tolerances"), CASES)
def test_digits_follow_the_tolerance(method, name, tolerances):
    problem = getattr(gallery, name)()
    for rtol in tolerances:
        y, sol = solved(problem, method, rtol)
        assert sol.result == dfx.RESULTS.successful
        assert problem.digits(y) >= -np.log10(rtol) - 1, f"at rtol={rtol:g}"
