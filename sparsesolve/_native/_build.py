"""Compiles the C++ kernels into this package. Imports nothing of it, so that `setup.py` can run this file alone.

The library links to nothing but the C++ runtime: XLA's headers come with jaxlib, a BLAS is handed over at run time.
It uses no Python ABI; one file serves every Python, and its name carries the version of XLA's interface instead.
"""

from __future__ import annotations

import concurrent.futures
import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
SOURCES = (
    "factor.cc",
    "solve.cc",
    "cholesky_factor.cc",
    "cholesky_solve.cc",
    "cholesky_inverse.cc",
    "simplicial_factor.cc",
    "simplicial_solve.cc",
    "simplicial_checked.cc",
    "simplicial_symbolic.cc",
    "rescue.cc",
    "untouched.cc",
    "products.cc",
    "multigrid_cycle.cc",
    "multigrid_setup.cc",
    "gram.cc",
    "library.cc",
)
FLAGS = ("-std=c++17", "-O3", "-fPIC", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden")
_TIMEOUT = 900


class BuildError(RuntimeError):
    """Why there is no library, in one sentence."""


def include_dir() -> pathlib.Path:
    """XLA's headers in the installed jaxlib.

    Raises:
        BuildError: there is no jaxlib with headers.
    """
    spec = importlib.util.find_spec("jaxlib")
    if spec is None or not spec.submodule_search_locations:
        raise BuildError("jaxlib is not installed, so XLA's headers are missing")
    folder = pathlib.Path(next(iter(spec.submodule_search_locations))) / "include"
    if not (folder / "xla" / "ffi" / "api" / "c_api.h").is_file():
        raise BuildError(f"jaxlib has no headers in {folder}")
    return folder


def interface_version() -> tuple[int, int]:
    """Version of XLA's foreign-function interface in the installed jaxlib."""
    text = (include_dir() / "xla" / "ffi" / "api" / "c_api.h").read_text()
    found = dict(re.findall(r"#define XLA_FFI_API_(MAJOR|MINOR) (\d+)", text))
    if set(found) != {"MAJOR", "MINOR"}:
        raise BuildError("jaxlib's headers do not name the version of XLA's interface")
    return int(found["MAJOR"]), int(found["MINOR"])


def library_name(version: tuple[int, int]) -> str:
    """File name of the library for one version of XLA's interface."""
    return f"_kernels-ffi{version[0]}.{version[1]}.so"


def compiler() -> str:
    """The C++ compiler: `$CXX`, or the first of c++, g++, clang++ that is there.

    Raises:
        BuildError: there is none.
    """
    candidates = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    for candidate in candidates:
        if found := shutil.which(candidate):
            return found
    raise BuildError(f"no C++ compiler was found (looked for {', '.join(candidates)})")


def build(target: pathlib.Path = HERE, extra: tuple[str, ...] = ()) -> pathlib.Path:
    """Compiles the library into `target` and returns its path.

    For this machine's processor if the compiler knows it, for any processor of this kind otherwise. The file appears
    whole or not at all.

    Raises:
        BuildError: no compiler, no headers, or the compiler failed.
    """
    if os.name != "posix":
        raise BuildError("the native kernels are built with GCC or Clang on Linux and macOS only")
    path = target / library_name(interface_version())
    target.mkdir(parents=True, exist_ok=True)
    errors = ""
    with tempfile.TemporaryDirectory() as scratch:
        for processor in (("-march=native",), ()):
            flags = (*FLAGS, "-DNDEBUG", *processor, *extra, "-I", str(include_dir()))
            library = pathlib.Path(scratch) / path.name
            errors = _compile(flags, library)
            if not errors:
                whole = path.with_suffix(f".{os.getpid()}.tmp")  # in the same folder, so that it can be renamed
                shutil.copyfile(library, whole)
                os.replace(whole, path)
                return path
    raise BuildError(f"the compiler failed: {errors}")


def _compile(flags: tuple[str, ...], library: pathlib.Path) -> str:
    """Compiles the sources side by side and links them; the compiler's complaint, empty when it succeeds."""
    compile_one = [compiler(), *flags]
    objects = [str(library.with_name(name).with_suffix(".o")) for name in SOURCES]
    commands = [
        [*compile_one, "-c", "-o", target, str(HERE / "src" / name)]
        for name, target in zip(SOURCES, objects, strict=True)
    ]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as workers:
        errors = [error for error in workers.map(_run, commands) if error]
    return errors[0] if errors else _run([*compile_one, "-shared", "-o", str(library), *objects])


def _run(command: list[str]) -> str:
    """The compiler's complaint, empty when it succeeds."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else (done.stderr.strip() or f"exit status {done.returncode}")[-2000:]
