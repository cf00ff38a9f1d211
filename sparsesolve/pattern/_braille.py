"""A sparsity pattern as a small braille picture: one character shows 4 x 2 blocks of the matrix."""

from __future__ import annotations

import numpy as np

# Bit of each dot of a braille character, by (row, column) within its 4 x 2 cell (Unicode block U+2800).
_DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])


def braille(rows: np.ndarray, cols: np.ndarray, shape: tuple[int, int], width: int = 40, height: int = 12) -> str:
    """Draws the entries `(rows, cols)` of a matrix of the given shape in at most `height` lines of `width`."""
    m, n = shape
    if m == 0 or n == 0:
        return ""
    dots_down, dots_across = min(m, 4 * height), min(n, 2 * width)
    if m > 4 * height or n > 2 * width:  # keep the aspect ratio of the matrix (a dot is about square)
        scale = max(m / (4 * height), n / (2 * width))
        dots_down, dots_across = max(1, round(m / scale)), max(1, round(n / scale))
    lines, chars = -(-dots_down // 4), -(-dots_across // 2)
    r = rows.astype(np.int64) * dots_down // m
    c = cols.astype(np.int64) * dots_across // n
    cells = np.zeros((lines, chars), np.int64)
    np.bitwise_or.at(cells, (r // 4, c // 2), _DOTS[r % 4, c % 2])
    return "\n".join("".join(chr(0x2800 + int(cell)) for cell in line) for line in cells)
