"""Column colouring of a given pattern. The pattern is built by hand, so that only the colouring is measured."""

from __future__ import annotations

import numpy as np
import scipy.sparse

from benchmarks._base import Benchmark, Case, Trial
from benchmarks._problems import build, reference_pattern

_SIDES = {
    "bratu_2d": ((100, "1e4"), (1000, "1e6")),
    "brusselator": ((72, "1e4"), (708, "1e6")),
    "fem_diffusion": ((100, "1e4"), (317, "1e5")),
}


def cases(quick: bool) -> list[Case]:
    """Two grids and a mesh; quick keeps the smallest size of each."""
    return [
        Case(f"{problem}, {size} columns", {"problem": problem, "n": n}, ("sparsesolve", "asdex"))
        for problem, sides in _SIDES.items()
        for n, size in sides[: 1 if quick else None]
    ]


def clashes(matrix: scipy.sparse.csr_matrix, colors: np.ndarray) -> int:
    """Rows in which two columns of one colour meet, counted in SciPy."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    keys = rows.astype(np.int64) * (int(colors.max()) + 1) + colors[matrix.indices]
    return int(keys.size - np.unique(keys).size) + int(np.sum(colors < 0))


def sparsesolve(problem: str, n: int) -> Trial:
    """`sparsesolve.color`, told the shapes of the fields as `detect_sparsity` does."""
    import jax

    import sparsesolve as ss

    matrix = reference_pattern(problem, n)
    plain = ss.SparsityPattern.from_scipy(matrix)
    shapes = tuple(leaf.shape for leaf in jax.tree.leaves(build(problem, n).y0))
    notes: dict[str, int] = {}

    def run() -> np.ndarray:
        ss.clear_caches()
        pattern = ss.SparsityPattern(plain.indptr, plain.indices, plain.shape, column_shapes=shapes, row_shapes=shapes)
        coloring = ss.color(pattern)
        notes["colours"], notes["bound"] = coloring.num_colors, coloring.lower_bound
        return coloring.colors

    return Trial(run, lambda colors: clashes(matrix, colors), 0.0, "clashes", notes=notes)


def asdex(problem: str, n: int) -> Trial:
    """`asdex.color_cols`; its compilation by numba is not counted."""
    import asdex as peer

    matrix = reference_pattern(problem, n).tocoo()
    pattern = peer.SparsityPattern.from_coo(matrix.row, matrix.col, matrix.shape)
    notes: dict[str, int] = {}

    def run() -> np.ndarray:
        colors, notes["colours"] = peer.color_cols(pattern)
        return np.asarray(colors)

    return Trial(run, lambda colors: clashes(matrix.tocsr(), colors), 0.0, "clashes", notes=notes)


BENCHMARK = Benchmark(
    "coloring", "columns that can be computed together", cases, {"sparsesolve": sparsesolve, "asdex": asdex}
)
