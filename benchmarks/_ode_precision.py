"""Work and precision, one process for a problem and all its tolerances: chemistry, oscillators, a DAE, fields."""

from __future__ import annotations

import sparsesolve as ss
from benchmarks._base import Case
from benchmarks._ode_ours import ours
from benchmarks._ode_peers import cvode, ida, scipy_method, stock_diffrax
from sparsesolve.ode import RadauIIA9

PEERS = {
    "solve_ode": ours(None),
    "BDF": ours(ss.BDF),
    "Rodas5P": ours(ss.Rodas5P),
    "Kvaerno5": ours(ss.Kvaerno5),
    "RadauIIA5": ours(ss.RadauIIA5),
    "RadauIIA9": ours(RadauIIA9),
    "scipy BDF": scipy_method("BDF"),
    "scipy Radau": scipy_method("Radau"),
    "CVODE, direct": cvode("direct"),
    "CVODE, GMRES": cvode("GMRES"),
    "IDA, direct": ida,
    "diffrax Kvaerno5": stock_diffrax,
}
_OURS = ("solve_ode", "BDF", "Rodas5P", "Kvaerno5", "RadauIIA5", "RadauIIA9")
_SMALL = (*_OURS, "scipy BDF", "scipy Radau", "CVODE, direct", "diffrax Kvaerno5")
_DAE = ("solve_ode", "BDF", "Rodas5P", "RadauIIA5", "RadauIIA9", "IDA, direct")
_FIELD = ("solve_ode", "BDF", "Rodas5P", "scipy BDF", "CVODE, direct", "CVODE, GMRES")
_KINETICS = ("hires", "rober", "orego", "pollu", "van_der_pol")


def cases(quick: bool) -> list[Case]:
    """HIRES, ROBER, OREGO, POLLU, van der Pol, the amplifier, groups of ROBER, Brusselator 32, MEDAKZO."""
    tolerances = (1e-4, 1e-6) if quick else (1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
    found: list[Case] = []
    for name in _KINETICS[:2] if quick else _KINETICS:
        found += [_case(name, None, rtol, _SMALL) for rtol in tolerances]
    found += [_case("transistor_amplifier", None, rtol, _DAE) for rtol in tolerances[::2]]
    found.append(_case("robertson_groups", 100, 1e-4, ("solve_ode", "BDF", "CVODE, direct")))
    found += [_case("brusselator_ode", 32, rtol, _FIELD) for rtol in ((1e-6,) if quick else tolerances[::2])]
    if not quick:
        found += [_case("medical_akzo", 200, rtol, _FIELD) for rtol in tolerances[::2]]
    return found


def _case(name: str, size: int | None, rtol: float, peers: tuple[str, ...]) -> Case:
    label = name if size is None else f"{name}({size})"
    return Case(f"{label}, rtol {rtol:.0e}", {"problem": name, "size": size, "rtol": rtol}, peers, group=label)
