"""Tables on the terminal and JSON on disk."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import pathlib
import platform
import sys
from typing import Any

from sparsesolve.report import text_table

RESULTS = pathlib.Path(__file__).parent / "results"
_PACKAGES = (
    "sparsesolve",
    "jax",
    "jaxlib",
    "numpy",
    "scipy",
    "lineax",
    "optimistix",
    "diffrax",
    "asdex",
    "pymetis",
    "pypardiso",
    "mkl",
    "klujax",
    "cvxopt",
    "pyamg",
    "scikit-sundae",
    "gtsam",
    "lmfit",
)


def case_table(rows: list[dict[str, Any]], measured: str = "time") -> str:
    """The peers of one case. The ratio says how many times the first peer's time a peer takes; parts have their own."""
    reference, parts = rows[0].get("seconds"), rows[0].get("parts", {})
    columns = dict.fromkeys(name for row in rows for name in row.get("parts", {}))
    header = ["peer", measured, "ratio", *columns, "error", "set-up", "compile", "memory", "notes"]
    cells, remarks = [], []
    for row in rows:
        if "skipped" in row or "failed" in row:
            remarks.append(f"  {row['peer']}: " + (f"skipped, {row['skipped']}" if "skipped" in row else row["failed"]))
            continue
        seconds = row.get("seconds")
        if seconds is None:
            remarks.append(
                f"  {row['peer']}: {row['what']} {row['error']:.1e} exceeds {row['tolerance']:.0e}, not timed"
            )
            continue
        ratio = f"{seconds / reference:.2f}" if reference else ""
        others = [_with_ratio(row.get("parts", {}).get(name), parts.get(name)) for name in columns]
        notes = ", ".join(f"{key} {value}" for key, value in row["notes"].items())
        setup, compilation = duration(row["setup_seconds"]), duration(row["compile_seconds"])
        memory = f"{row['memory_megabytes']:.0f} MB"
        error = f"{row['error']:.1e}"
        cells.append([row["peer"], duration(seconds), ratio, *others, error, setup, compilation, memory, notes])
    return "\n".join([text_table(header, cells) if cells else "", *remarks]).strip("\n")


def summary_table(rows: list[dict[str, Any]]) -> str:
    """A line a case: the time of its first peer, and how many times that the others take; for each common part too."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["case"], []).append(row)
    peers = list(dict.fromkeys(row["peer"] for group in groups.values() for row in group[1:] if "seconds" in row))
    lines = []
    for case, (first, *others) in groups.items():
        if "seconds" in first:
            found = {row["peer"]: _ratios(first, row) for row in others if "seconds" in row}
            times = " / ".join(duration(x) for x in (first["seconds"], *first["parts"].values()))
            lines.append([case, times, *(found.get(peer, "") for peer in peers)])
    columns = next((list(group[0]["parts"]) for group in groups.values() if "seconds" in group[0]), [])
    what = " / ".join(["time", *columns])
    return f"({what}; ratios in the same order)\n" + text_table(["case", rows[0]["peer"], *peers], lines)


def _ratios(first: dict[str, Any], row: dict[str, Any]) -> str:
    ratios = [row["seconds"] / first["seconds"]]
    ratios += [row["parts"][name] / seconds for name, seconds in first["parts"].items() if name in row["parts"]]
    return " / ".join(f"{ratio:.2f}" for ratio in ratios)


def _with_ratio(seconds: float | None, reference: float | None) -> str:
    if seconds is None:
        return ""
    return duration(seconds) + (f" ({seconds / reference:.2f})" if reference else "")


def duration(seconds: float | None) -> str:
    """Seconds with a unit and three digits."""
    if seconds is None:
        return ""
    unit, scale = next(
        ((unit, scale) for unit, scale in (("s", 1.0), ("ms", 1e3)) if seconds * scale >= 1), ("us", 1e6)
    )
    value = seconds * scale
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def write_json(name: str, title: str, quick: bool, rows: list[dict[str, Any]]) -> pathlib.Path:
    """Writes the rows with everything one needs to judge them."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / (f"{name}_quick.json" if quick else f"{name}.json")
    record = {
        "benchmark": name,
        "title": title,
        "command": f"python -m benchmarks {'--quick ' if quick else ''}{name}",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), **_versions()},
        "device": device(),
        "rows": rows,
    }
    path.write_text(json.dumps(record, indent=1) + "\n")
    return path


def device() -> str:
    """What the timings ran on."""
    model = platform.processor() or platform.machine()
    info = pathlib.Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    return f"one core of {model}, {sys.platform}"


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
