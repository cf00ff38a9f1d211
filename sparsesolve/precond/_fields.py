"""Which field (species, component) each unknown belongs to, for multigrid on systems. Host-side."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsesolve.pattern import SparsityPattern


class FieldLabels:
    """An integer for each unknown, hashable by content, so that it can be a static field."""

    def __init__(self, labels: Any):
        self.labels = np.asarray(labels)
        if self.labels.ndim != 1 or not np.issubdtype(self.labels.dtype, np.integer):
            raise ValueError(
                f"AMG got fields of shape {self.labels.shape} and dtype {self.labels.dtype}; write the number of "
                "fields, or an array with one integer for each unknown that says which field it belongs to."
            )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FieldLabels) and np.array_equal(self.labels, other.labels)

    def __hash__(self) -> int:
        return hash(self.labels.tobytes())

    def __repr__(self) -> str:
        return f"<{self.labels.size} labels>"


def field_labels(pattern: SparsityPattern, fields: int | FieldLabels | None, interleaved: bool) -> np.ndarray:
    """The field of each unknown, int32 `(n,)`.

    Raises:
        ValueError: the number of fields does not divide the unknowns, or there are not as many labels as unknowns.
    """
    n = pattern.shape[0]
    if isinstance(fields, FieldLabels):
        if fields.labels.size != n:
            raise ValueError(f"AMG got {fields.labels.size} field labels for {n} unknowns; give one for each unknown.")
        return np.unique(fields.labels, return_inverse=True)[1].astype(np.int32)
    if fields is None:
        shapes = pattern.column_shapes
        if shapes is None or len(shapes) < 2:
            return np.zeros(n, np.int32)
        sizes = [int(np.prod(shape)) for shape in shapes]
        return np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    if n % fields:
        raise ValueError(
            f"AMG got fields={fields} for {n} unknowns, which is not a multiple; give an array with the field of each "
            "unknown instead."
        )
    order = np.arange(n, dtype=np.int32)
    return order % fields if interleaved else order // (n // fields)
