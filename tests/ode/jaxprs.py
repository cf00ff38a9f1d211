"""What the programs of gradients are made of."""

import jax.extend.core as jex


def all_equations(jaxpr, inside=False):
    """Every equation, and whether it stands in a loop."""
    for eqn in jaxpr.eqns:
        yield eqn, inside
        for value in eqn.params.values():
            for inner in value if isinstance(value, (tuple, list)) else (value,):
                body = getattr(inner, "jaxpr", inner)
                if isinstance(body, jex.Jaxpr):
                    yield from all_equations(body, inside or eqn.primitive.name == "while")


def assert_sparse(jaxpr, n, table):
    """Nothing is as large as a matrix of n rows, and nothing in a loop makes an array of the length of a table."""
    tables = set()
    for eqn, inside in all_equations(jaxpr):
        for v in eqn.outvars:
            shape = getattr(v.aval, "shape", ())
            assert sum(size == n for size in shape) < 2 and n * n not in shape, eqn
            if inside and table in shape and eqn.primitive.name not in ("while", "jit", "cond", "closed_call"):
                tables.add(eqn.primitive.name)
    assert tables <= {"scatter-add", "stop_gradient"}, tables  # the latter is no work
