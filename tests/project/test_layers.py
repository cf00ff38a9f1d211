"""Imports only point down the layers of the package, and files stay small."""

import ast
import pathlib

import pytest

import sparsesolve

PACKAGE = pathlib.Path(sparsesolve.__file__).parent

# From the bottom up. Packages on one line do not import each other.
LAYERS = [
    ("_xla", "_tree", "_cache", "_lanes", "_native", "gallery"),
    ("pattern",),
    ("coloring",),
    ("matrix",),
    ("jacobian",),
    ("krylov",),
    ("direct",),
    ("precond",),
    ("linear",),
    ("nonlinear", "least_squares", "ode"),
    ("ensemble",),
    ("report",),
    ("__init__",),
    ("demonstration",),
    ("__main__",),
]
# Likewise the folders inside a layer; files directly in the layer's folder may import any of them.
ROOMS = {
    "ode": [
        ("system",),
        ("newton",),
        ("stepping",),
        ("multistep", "runge_kutta", "rosenbrock"),
        ("adjoint",),
        ("solve",),
    ],
    "least_squares": [
        ("linear_step", "objective", "manifolds"),
        ("descent",),
        ("iteration",),
        ("solvers", "statistics"),
    ],
}
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
FILES = sorted(PACKAGE.rglob("*.py"))


def part_of(path):
    """The sub-package, or the module at the top, that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_parts(path):
    """`(line, part)` for every import of this package, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            names = [node.module]
            if node.module == "sparsesolve":
                names = [f"sparsesolve.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            head, *rest = name.split(".")
            if head == "sparsesolve":
                yield node.lineno, rest[0] if rest else "__init__"


def test_every_part_has_a_layer():
    assert {part_of(path) for path in FILES} <= set(LEVEL)


@pytest.mark.parametrize("part", sorted({part_of(path) for path in FILES} - {"__init__", "__main__"}))
def test_imports_point_down(part):
    for path in FILES:
        if part_of(path) != part:
            continue
        for line, target in imported_parts(path):
            down = LEVEL[target] < LEVEL[part]
            assert target == part or down, f"{path.relative_to(PACKAGE)}:{line} imports {target}, not below {part}"


@pytest.mark.parametrize("part", ROOMS)
def test_imports_point_down_inside_a_layer(part):
    level = {room: level for level, rooms in enumerate(ROOMS[part]) for room in rooms}
    folders = [folder for folder in (PACKAGE / part).iterdir() if (folder / "__init__.py").exists()]
    assert {folder.name for folder in folders} == set(level)
    for path in [path for folder in folders for path in folder.glob("*.py")]:
        room = path.parent.name
        for node in ast.walk(ast.parse(path.read_text())):
            names = (node.module or "").split(".") if isinstance(node, ast.ImportFrom) else []
            if names[:2] == ["sparsesolve", part]:
                target = names[2]
                assert target == room or level.get(target, len(level)) < level[room], (
                    f"{path}:{node.lineno} imports {target}"
                )


def test_the_gallery_needs_nothing_of_the_package():
    allowed = {
        "__future__",
        "collections",
        "dataclasses",
        "functools",
        "jax",
        "jaxtyping",
        "math",
        "numpy",
        "re",
        "scipy",
    }
    for path in sorted((PACKAGE / "gallery").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                heads = {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                own = (node.module or "").startswith("sparsesolve.gallery.")
                heads = set() if own else {(node.module or "").split(".")[0]}
            else:
                continue
            assert heads <= allowed | {"typing"}, f"{path.name}:{node.lineno}"


def test_modules_are_private_and_packages_are_not():
    for path in FILES:
        *folders, name = path.relative_to(PACKAGE).parts
        assert name.startswith("_") or "rules" in folders, path
        assert path.stem != path.parent.name


def test_no_file_is_longer_than_400_lines():
    root = PACKAGE.parent if (PACKAGE.parent / "tests").is_dir() else PACKAGE
    folders = [root / name for name in ("sparsesolve", "tests", "examples", "benchmarks")]
    files = [path for folder in folders if folder.is_dir() for path in folder.rglob("*.py")] or FILES
    long = {str(path.relative_to(root)): lines for path in files if (lines := path.read_text().count("\n")) > 400}
    assert long == {}


def test_every_module_says_what_it_is_for():
    silent = [str(p.relative_to(PACKAGE)) for p in FILES if p.name != "__init__.py" and not module_docstring(p)]
    assert silent == []


def module_docstring(path):
    return ast.get_docstring(ast.parse(path.read_text()))


def test_the_package_never_sets_the_configuration_of_jax():
    calls = [
        f"{path.name}:{node.lineno}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("config.update")
    ]
    assert calls == []
