"""The demonstration: `python -m sparsesolve [--n N] [--out DIR]`.

Says what it runs on, solves one problem of each kind from its plain JAX functions with a line of figures, and draws
them. It is an application, so it may compute in 64 bit; the package itself never changes JAX's configuration.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import pathlib
import platform

import jax

from sparsesolve import _native
from sparsesolve.demonstration import PARTS
from sparsesolve.demonstration._say import say
from sparsesolve.report._figure import HOW_TO_GET


def main(arguments: list[str] | None = None) -> None:
    """Runs the demonstration."""
    parser = argparse.ArgumentParser(prog="python -m sparsesolve", description="Demonstrates sparsesolve.")
    parser.add_argument("--n", type=int, default=256, help="grid points a side (default: %(default)s)")
    parser.add_argument(
        "--out", type=pathlib.Path, default=None, help="folder for pictures (default: none are written)"
    )
    options = parser.parse_args(arguments)
    if options.n < 4:
        parser.error(f"--n {options.n} is too small a grid to show anything; write --n 4 or more")
    with jax.enable_x64(True):
        say(*_environment())
        drawings = [part(options.n) for part in PARTS]
        if options.out is None:
            say("Pictures: add --out DIR.")
        elif importlib.util.find_spec("matplotlib") is None:
            say(f"Pictures need matplotlib; write: {HOW_TO_GET}")
        else:
            say(*(f"Picture: {path}" for draw in drawings for path in draw(options.out)))


def _environment() -> list[str]:
    names = ("jax", "jaxlib", "numpy", "scipy", "lineax", "optimistix", "diffrax")
    versions = "  ".join(f"{name} {_version(name)}" for name in names)
    devices = ", ".join(f"{device.platform} ({device.device_kind})" for device in jax.devices())
    return [
        f"sparsesolve {_version('sparsesolve')} on Python {platform.python_version()}",
        f"  versions   {versions}",
        f"  devices    {devices}",
        f"  back ends  plain JAX: active (cpu, gpu); {_native.status()}",
    ]


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    main()
