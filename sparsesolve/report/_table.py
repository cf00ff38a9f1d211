"""Text tables: aligned columns for terminals and logs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns, the first to the left and the others to the right.

    Args:
        header: names of the columns.
        rows: cells as text, as many a row as there are columns.

    Example:
        >>> from sparsesolve import report
        >>> print(report.text_table(["peer", "ms"], [["a", "1.0"], ["bb", "12.5"]]))
        peer    ms
        ----  ----
        a      1.0
        bb    12.5
    """
    cells = [list(header), *[list(row) for row in rows]]
    if any(len(row) != len(header) for row in cells):
        raise ValueError(f"text_table got rows of {sorted({len(r) for r in cells})} cells; all need {len(header)}.")
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    cells.insert(1, ["-" * width for width in widths])
    lines = [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]
    return "\n".join(line.rstrip() for line in lines)


def iteration_table(history: Any) -> str:
    """The steps of a solve as text, from `root_find(..., history=True)`.

    Args:
        history: has `residual_norms`, shape `(max_steps + 1,)`, and `step_lengths`, shape `(max_steps,)`; NaN after
            the last step.

    Example:
        >>> import types
        >>> from sparsesolve import report
        >>> history = types.SimpleNamespace(residual_norms=[1.0, 1e-3, float("nan")], step_lengths=[1.0, float("nan")])
        >>> print(report.iteration_table(history))
        step  residual norm  reduction  step length
        ----  -------------  ---------  -----------
        0        1.0000e+00
        1        1.0000e-03    1.0e-03            1
    """
    norms = np.asarray(history.residual_norms, float)
    norms = norms[np.isfinite(norms)]
    lengths = np.asarray(history.step_lengths, float)
    rows = [["0", f"{norms[0]:.4e}", "", ""]] if norms.size else []
    for k in range(1, norms.size):
        reduction = norms[k] / norms[k - 1] if norms[k - 1] else 0.0
        rows.append([str(k), f"{norms[k]:.4e}", f"{reduction:.1e}", f"{lengths[k - 1]:.3g}"])
    return text_table(["step", "residual norm", "reduction", "step length"], rows)
