"""The public names, pinned: a change here is a change of the interface and belongs into CHANGELOG.md."""

import inspect
import subprocess
import sys
import types

import sparsesolve as ss

PUBLIC = [
    "AMG",
    "AutoSparse",
    "BDF",
    "Banded",
    "BiCGStab",
    "BlockJacobi",
    "CG",
    "Chebyshev",
    "DiscreteAdjoint",
    "Dogleg",
    "FieldSplit",
    "GMRES",
    "GaussNewton",
    "IDR",
    "Jacobi",
    "KenCarp47",
    "Kvaerno5",
    "LaggedLU",
    "LevenbergMarquardt",
    "Loss",
    "Newton",
    "ProductManifold",
    "RadauIIA5",
    "Rodas5P",
    "Rosenbrock23",
    "SE2",
    "SE3",
    "SO2",
    "SO3",
    "SparseCholesky",
    "SparseLU",
    "SparseLinearOperator",
    "SparseMatrix",
    "SparsityPattern",
    "StageNewton",
    "TRBDF2",
    "check_coloring",
    "clear_caches",
    "color",
    "covariance",
    "curve_fit",
    "detect_sparsity",
    "gallery",
    "graduated_non_convexity",
    "hessian",
    "jacobian",
    "least_squares",
    "register_sparsity_rule",
    "root_find",
    "solve_ensemble",
    "solve_ode",
    "standard_errors",
]


def test_public_names_are_pinned():
    assert sorted(ss.__all__) == PUBLIC
    assert all(hasattr(ss, name) for name in PUBLIC)


def test_everything_public_is_documented_with_an_example():
    for name in PUBLIC:
        thing = getattr(ss, name)
        if isinstance(thing, types.ModuleType):
            continue
        text = inspect.getdoc(thing)
        assert text and ">>>" in text, f"sparsesolve.{name} has no example in its docstring"


def test_importing_neither_configures_jax_nor_touches_a_device():
    code = (
        "import jax; before = dict(jax.config.values)\n"
        "import sparsesolve\n"
        "assert dict(jax.config.values) == before\n"
        "from jax._src import xla_bridge\n"
        "assert not xla_bridge._backends, 'a device was initialised'\n"
        "import sys; assert 'matplotlib' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
