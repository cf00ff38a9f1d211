"""Every solver of the table inside `shard_map` on two devices; prints what went wrong for each as one line of JSON."""

import json
import os

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from tests.linear.table import SOLVERS, arrays, close, problem, reference, tolerance


def attempt(name: str) -> str:
    """Empty, or the error."""
    entry = SOLVERS[name]
    os.environ["SPARSESOLVE_NATIVE"] = "1" if entry.native else "0"
    p = problem(entry.matrices[0])
    rtol, compared = tolerance(entry, np.float64)
    solver = entry.make(rtol)
    batch, by_row = p.direction(1, (2,)), PartitionSpec("batch")
    mesh = Mesh(np.array(jax.devices()), ("batch",))

    def one_device(data, b):
        def total(b):
            x = p.solve(solver, data[0], b)
            return (x.conj() @ x).real / 2, x

        gradient, x = jax.grad(total, has_aux=True)(b[0])
        return x[None], gradient[None]

    try:
        sharded = jax.jit(
            jax.shard_map(one_device, mesh=mesh, in_specs=(by_row, by_row), out_specs=by_row, check_vma=False)
        )
        x, gradient = sharded(*arrays(*batch))
        close(x, reference(p, *batch), compared)
        expected = [np.linalg.solve(p.dense(d).T, np.linalg.solve(p.dense(d), b)) for d, b in zip(*batch, strict=True)]
        close(gradient, np.stack(expected), compared)
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:500]
    return ""


if __name__ == "__main__":
    print(json.dumps({name: attempt(name) for name in SOLVERS}))
