"""What a colouring is: the result type shared by all colouring algorithms. Host-side, immutable."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

Partition = Literal["column", "row", "symmetric", "bidirectional"]


@dataclasses.dataclass(frozen=True, eq=False)
class Coloring:
    """Colours of the columns and / or rows of a pattern, so that one product reads many columns (or rows).

    Attributes:
        partition: `"column"` (JVPs), `"row"` (VJPs), `"symmetric"` (star colouring of a Hessian's columns) or
            `"bidirectional"` (some rows by VJPs, the rest by JVPs: arrow shapes).
        column_colors: int32 `(n,)`, the colour of each column, `None` where rows alone are coloured. -1 marks a
            column that no JVP needs to seed.
        row_colors: int32 `(m,)`, the same for rows; -1 marks a row that is not read by a VJP.
        lower_bound: no colouring of this partition can need fewer colours (largest number of entries in a row,
            or a column; 0 when nothing is known).
        method: which algorithm won, e.g. `"lattice"` or `"smallest last"`.
    """

    partition: Partition
    column_colors: np.ndarray | None
    row_colors: np.ndarray | None
    lower_bound: int = 0
    method: str = ""

    @property
    def num_column_colors(self) -> int:
        """JVPs one evaluation needs."""
        return 0 if self.column_colors is None or not self.column_colors.size else int(self.column_colors.max()) + 1

    @property
    def num_row_colors(self) -> int:
        """VJPs one evaluation needs."""
        return 0 if self.row_colors is None or not self.row_colors.size else int(self.row_colors.max()) + 1

    @property
    def num_colors(self) -> int:
        """Products (JVPs and VJPs together) one evaluation needs."""
        return self.num_column_colors + self.num_row_colors

    @property
    def colors(self) -> np.ndarray:
        """A colour per column, or per row when the partition is `"row"`."""
        if self.partition == "bidirectional":
            raise ValueError("A bidirectional colouring has two sets of colours: read column_colors and row_colors.")
        colors = self.row_colors if self.partition == "row" else self.column_colors
        assert colors is not None
        return colors

    def __repr__(self) -> str:
        by = f", {self.method}" if self.method else ""
        return f"Coloring({self.partition}, {self.num_colors} colors, lower bound {self.lower_bound}{by})"
