"""The symbolic layer against brute force on small graphs."""

import numpy as np
import pytest
import scipy.sparse as sp

from sparsesolve.direct import _etree, _fronts, _ordering
from sparsesolve.direct._buckets import schedule
from sparsesolve.direct._matching import product_matching, structural_matching
from sparsesolve.direct._tables import build_tables
from sparsesolve.pattern import SparsityPattern
from tests.direct import problems


def random_graph(n, density, seed):
    matrix = sp.random(n, n, density, random_state=np.random.default_rng(seed)).tocoo()
    return _ordering.adjacency(matrix.row, matrix.col, n)


def filled(graph):
    """Pattern of L + L^T by elimination of a dense matrix."""
    full = graph.toarray().astype(bool) | np.eye(graph.shape[0], dtype=bool)
    for k in range(graph.shape[0]):
        below = np.flatnonzero(full[k + 1 :, k]) + k + 1
        full[np.ix_(below, below)] = True
    return full


@pytest.mark.parametrize("n, density", [(1, 0.0), (12, 0.2), (40, 0.05), (60, 0.03), (30, 0.0)])
def test_tree_and_counts(n, density):
    graph = random_graph(n, density, n)
    parent = _etree.elimination_tree(graph.indptr, graph.indices)
    post = _etree.postorder(parent)
    graph = graph[post][:, post].tocsr()
    graph.sort_indices()
    parent = _etree.elimination_tree(graph.indptr, graph.indices)
    lower = np.tril(filled(graph))
    expected = [np.flatnonzero(lower[k + 1 :, k])[:1] + k + 1 for k in range(n)]
    assert [int(p[0]) if p.size else -1 for p in expected] == parent.tolist()
    assert np.array_equal(_etree.postorder(parent), np.arange(n))
    counts = _etree.column_counts(graph.indptr, graph.indices, parent, _etree.subtree_sizes(parent))
    assert np.array_equal(counts, lower.sum(0))


@pytest.mark.parametrize("seed", range(4))
def test_fronts_cover_the_fill(seed):
    graph = random_graph(80, 0.03, seed)
    fronts = _fronts.analyze(graph, _ordering.nested_dissection(graph), leaf=4)
    assert np.array_equal(np.sort(fronts.order), np.arange(80))
    permuted = graph[fronts.order][:, fronts.order].tocsr()
    lower = np.tril(filled(permuted), -1)
    for s, (first, k) in enumerate(zip(fronts.first, fronts.pivots, strict=True)):
        inside = np.concatenate([np.arange(first, first + k), fronts.border[s]])
        rows = np.flatnonzero(lower[:, first : first + k].any(1))
        assert np.isin(rows, inside).all()
        if fronts.border[s].size:
            parent = fronts.parent[s]
            above = np.arange(fronts.first[parent], fronts.first[parent] + fronts.pivots[parent])
            assert np.isin(fronts.border[s], np.concatenate([above, fronts.border[parent]])).all()


def test_schedule_runs_children_before_parents_and_the_pool_never_overlaps():
    pattern, _ = problems.split(problems.stencil(24, 25))
    graph = _ordering.adjacency(pattern.rows, pattern.indices, 600)
    fronts = _fronts.analyze(graph, _ordering.nested_dissection(graph))
    plan = schedule(fronts)
    seen = np.zeros(fronts.pivots.size, bool)
    for _, c, _, members in plan.in_order():
        children = np.flatnonzero(np.isin(fronts.parent, members))
        assert seen[children].all()
        assert (fronts.pivots[members] <= plan.buckets[c].k).all()
        assert (fronts.border_sizes[members] <= plan.buckets[c].m).all()
        seen[members] = True
    assert seen.all()
    tables, sizes = build_tables(fronts, plan, pattern.rows, pattern.indices, fronts.order, fronts.order)
    real = np.concatenate([t.parent_row[t.parent_row < 2**29] for t in tables.buckets])
    assert real.min() >= 0 and real.max() < sizes.pool
    entries = np.concatenate([t.entry_source[t.entry_source < pattern.nnz] for t in tables.buckets])
    assert np.array_equal(np.sort(entries), np.arange(pattern.nnz))


def test_several_species_a_node_are_ordered_together():
    two = problems.brusselator(12)
    coo = two.tocoo()
    assert np.unique(_ordering.indistinguishable(_ordering.adjacency(coo.row, coo.col, 288))).size == 288
    full = sp.kron(problems.stencil(12, 12), np.ones((3, 3))).tocoo()
    graph = _ordering.adjacency(full.row, full.col, 432)
    assert np.unique(_ordering.indistinguishable(graph)).size == 144
    place = np.argsort(_ordering.nested_dissection(graph)).reshape(144, 3)
    assert (np.ptp(place, axis=1) == 2).all()


def test_a_hub_is_ordered_last():
    arrow = sp.lil_matrix(problems.stencil(30, 30))
    arrow[0, :] = 1
    arrow[:, 0] = 1
    coo = arrow.tocoo()
    assert _ordering.nested_dissection(_ordering.adjacency(coo.row, coo.col, 900))[-1] == 0


def test_matchings():
    pattern, values = problems.split(problems.permuted(problems.stencil(8, 8)))
    matrix = sp.csr_matrix((values, pattern.indices, pattern.indptr), pattern.shape)
    rows = product_matching(pattern, values)
    assert rows is not None and np.array_equal(np.sort(rows), np.arange(64))
    assert (matrix[rows].diagonal() == 4).all()
    assert (matrix[structural_matching(pattern)].diagonal() != 0).all()
    kept = SparsityPattern.from_coo([0, 0, 1, 2], [0, 1, 1, 2], (3, 3))
    assert np.array_equal(structural_matching(kept), np.arange(3))
