"""Compiles the native CPU kernels into the package when a C++ compiler is there; goes on without them otherwise.

Everything else about the project is in pyproject.toml. `pip install .` and `pip install -e .` both come through here;
`python -m sparsesolve` says whether the kernels are active.
"""

import importlib.util
import pathlib

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

PACKAGE = pathlib.Path(__file__).resolve().parent / "sparsesolve" / "_native"


def _builder():
    """`sparsesolve/_native/_build.py` without its package, which would import JAX."""
    spec = importlib.util.spec_from_file_location("sparsesolve_native_build", PACKAGE / "_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class BuildWithKernels(build_py):
    def run(self):
        super().run()
        target = PACKAGE if self.editable_mode else pathlib.Path(self.build_lib) / "sparsesolve" / "_native"
        native = _builder()
        try:
            print(f"native kernels: built {native.build(target)}")
        except native.BuildError as error:
            print(f"native kernels: not built, {error}; the portable path works without them")


class PlatformWheel(bdist_wheel):
    """One wheel a platform, for every Python: the library has no Python ABI."""

    def get_tag(self):
        return ("py3", "none", super().get_tag()[2])


class PlatformDistribution(Distribution):
    def has_ext_modules(self):
        return True


setup(cmdclass={"build_py": BuildWithKernels, "bdist_wheel": PlatformWheel}, distclass=PlatformDistribution)
