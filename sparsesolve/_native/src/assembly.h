// The walk over the assembly tree that all multifrontal factorizations share.
//
// Fronts are visited in postorder. Each is assembled from the matrix entries its pivots own and from the Schur
// complements of its children, eliminated, and leaves its own Schur complement on a stack (`tree.h`). What a front's
// blocks are and how they are eliminated is the method's business (`factor.cc`, `cholesky_factor.cc`).
//
// Operands (int32 unless said otherwise; tables are not batched):
//   fronts (N, 4)         see tree.h
//   parent_map (borders)  place of each border row among the rows of the parent
//   entry_source (E)      which matrix value, grouped by front
//   entry_target (E)      where in the front's block of the factors it goes
//   indptr (n + 1), columns (nnz)   the pattern, CSR
//   data (..., nnz)       values, of the type of the factors
//
// Every table is checked where it is used, before it is used; the checks read what the kernel reads next anyway.

#ifndef SPARSESOLVE_ASSEMBLY_H_
#define SPARSESOLVE_ASSEMBLY_H_

#include "buffers.h"
#include "pages.h"

namespace sparsesolve {

struct FactorTables {
  View<const int32_t> fronts;
  int64_t n, nnz, borders, entries;
  const int32_t *parent_map, *entry_source, *entry_target, *indptr, *columns;
};

inline FactorTables factor_tables(const ffi::AnyBuffer& fronts_buffer, const ffi::AnyBuffer& map_buffer,
                                  const ffi::AnyBuffer& source_buffer, const ffi::AnyBuffer& target_buffer,
                                  const ffi::AnyBuffer& indptr_buffer, const ffi::AnyBuffer& columns_buffer) {
  const auto fronts = table(fronts_buffer, 2, "fronts");
  const auto map = table(map_buffer, 1, "parent_map");
  const auto source = table(source_buffer, 1, "entry_source");
  const auto target = table(target_buffer, 1, "entry_target");
  const auto indptr = table(indptr_buffer, 1, "indptr");
  const auto columns = table(columns_buffer, 1, "columns");
  require(fronts.core(1) == 4, "fronts must have four columns");
  require(indptr.size >= 1, "indptr must hold at least one number");
  require(source.size == target.size, "the entry tables must be equally long");
  const FactorTables t{fronts,   indptr.size - 1, columns.size, map.size,    source.size,
                       map.data, source.data,     target.data,  indptr.data, columns.data};
  require(t.indptr[0] == 0 && t.indptr[t.n] == t.nnz, "indptr must run from 0 to the number of entries");
  bool sorted = true;
  for (int64_t i = 0; i < t.n; i++) sorted &= t.indptr[i] <= t.indptr[i + 1];
  require(sorted, "indptr must not decrease");
  require_below(t.columns, t.nnz, t.n, "columns: a column is outside the matrix");
  require_below(t.entry_source, t.entries, t.nnz, "entry_source: an entry is outside the values");
  return t;
}

inline auto bind_factor() {
  return ffi::Ffi::Bind()
      .Arg<ffi::AnyBuffer>()
      .Arg<ffi::AnyBuffer>()
      .Arg<ffi::AnyBuffer>()
      .Arg<ffi::AnyBuffer>()
      .Arg<ffi::AnyBuffer>()
      .Arg<ffi::AnyBuffer>()
      .Arg<ffi::AnyBuffer>();
}

template <class T>
struct Working {
  Workspace<T> scaled, stack;
  Workspace<int32_t> runs, pending;  // pending: fronts whose Schur complement waits for its parent

  Working(const FactorTables& t, const Tree& tree)
      : scaled(allocate<T>(t.nnz)),
        stack(allocate<T>(tree.stack_size)),
        runs(allocate<int32_t>(tree.largest_border + 1)),
        pending(allocate<int32_t>(t.fronts.core(0))) {
    prefer_large_pages(stack.get(), sizeof(T) * tree.stack_size);
  }
};

// The tree of a call whose results are batched like its data, checked against their sizes; `factors` comes first.
template <class T, class... Result>
Tree factor_tree(const FactorTables& t, const View<const T>& data, FactorSize factor_size, const View<T>& factors,
                 const Result&... results) {
  require(data.size == t.nnz, "data must hold one value an entry of the pattern");
  const char* batched = "results must be batched like the data";
  require_same_batch(data, factors, batched);
  (require_same_batch(data, results, batched), ...);
  Tree tree = read_tree(t.fronts.data, t.fronts.core(0), {t.n, t.borders, t.entries, factors.size}, factor_size);
  lay_out_stacks(tree);
  prefer_large_pages(factors.data, sizeof(T) * factors.size * factors.members);
  return tree;
}

// Factorizes one member. The method has `scale(tables, data, scaled)`, which prepares the values; `open(front, schur)`,
// which clears the blocks of a front and says where they are; `entries(front)`, how many places matrix values can go to,
// and `entry(blocks, place)`; `add(blocks, child, size, map, runs)` for a child's Schur complement; and
// `eliminate(front, blocks)`.
template <class T, class Method>
void walk(const FactorTables& t, const Tree& tree, const T* data, Working<T>& work, Method& method) {
  method.scale(t, data, work.scaled.get());
  const int64_t count = static_cast<int64_t>(tree.fronts.size());
  int64_t pending = 0;
  for (int64_t s = 0; s < count; s++) {
    const Front& f = tree.fronts[s];
    const auto blocks = method.open(f, work.stack.get() + f.schur_start);
    const int32_t* target = t.entry_target + f.entry_start;
    const int32_t* source = t.entry_source + f.entry_start;
    require_below(target, f.entries, method.entries(f), "entry_target: an entry is outside its front");
    for (int32_t e = 0; e < f.entries; e++) method.entry(blocks, target[e]) += work.scaled[source[e]];
    pending -= f.children;
    for (int32_t c = 0; c < f.children; c++) {
      const Front& g = tree.fronts[work.pending[pending + c]];
      const int32_t* map = t.parent_map + g.border_start;
      if (g.border > 0) method.add(blocks, work.stack.get() + g.schur_start, g.border, map, work.runs.get());
    }
    work.pending[pending++] = static_cast<int32_t>(s);
    method.eliminate(f, blocks);
  }
}

}  // namespace sparsesolve

#endif  // SPARSESOLVE_ASSEMBLY_H_
