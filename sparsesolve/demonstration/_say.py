"""What the parts share: printing, counting, timing by stages."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np


def say(*lines: str) -> None:
    """Prints lines at once."""
    for line in lines:
        print(line, flush=True)


def counted(count: int, noun: str) -> str:
    """`"1 step"`, `"3 steps"`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def figures(parts: Sequence[str]) -> str:
    """One indented line of figures."""
    return "  " + " | ".join(parts)


def times(seconds: dict[str, float]) -> str:
    """One indented line of stages."""
    return figures([f"{name} {duration:.2f} s" for name, duration in seconds.items()])


def timed_stages(function: Callable[..., Any], *args: Any) -> tuple[Any, dict[str, float]]:
    """The result of `jit(function)(*args)` and the seconds of each stage: plan and trace, compile, run."""
    marks = [time.perf_counter()]
    traced = jax.jit(function).trace(*args)
    marks.append(time.perf_counter())
    compiled = traced.lower().compile()
    marks.append(time.perf_counter())
    result = jax.block_until_ready(compiled(*args))
    marks.append(time.perf_counter())
    return result, dict(zip(("set-up", "compile", "run"), np.diff(marks).tolist(), strict=True))
