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

#include <cstring>
#include <utility>

#include "binding.h"
#include "buffers.h"
#include "extend_add.h"
#include "pages.h"
#include "parallel.h"
#include "schedule.h"

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

inline auto bind_factor() { return operands<7>(ffi::Ffi::Bind().Ctx<ffi::ThreadPool>()); }

// What one worker needs for a subtree.
template <class T>
struct Scratch {
  Workspace<T> stack, space;         // space: for the elimination of one front
  Workspace<int32_t> runs, pending;  // pending: fronts whose Schur complement waits for its parent

  void prepare(const Tree& tree) {
    if (runs) return;
    stack = allocate<T>(tree.stack_size);
    space = allocate<T>(tree.space_size);
    pending = allocate<int32_t>(tree.fronts.size());
    runs = allocate<int32_t>(tree.largest_border + 1);
    prefer_large_pages(stack.get(), sizeof(T) * tree.stack_size);
  }
};

template <class T>
struct Working {
  Workspace<T> scaled;
  std::vector<Scratch<T>> scratch;    // one a worker
  std::vector<Workspace<T>> handed;   // Schur complements on their way to a front above all subtrees
};

// Clears a block, by all threads where it is large.
template <class T>
void clear(Team& team, T* block, int64_t count) {
  constexpr int64_t kPiece = 1 << 15;
  team.loop((count + kPiece - 1) / kPiece, [&](int64_t i, int) {
    std::memset(static_cast<void*>(block + i * kPiece), 0, sizeof(T) * std::min(kPiece, count - i * kPiece));
  });
}

// Assembles and eliminates one front. `child(c)` is its child c with where its Schur complement is.
template <class T, class Method, class Child>
void visit(Team& team, const FactorTables& t, const Front& f, const T* scaled, T* schur, const Scratch<T>& scratch,
           Method& method, Child&& child) {
  const auto blocks = method.open(team, f, schur, scratch.space.get());
  const int32_t* target = t.entry_target + f.entry_start;
  const int32_t* source = t.entry_source + f.entry_start;
  require_below(target, f.entries, method.entries(f), "entry_target: an entry is outside its front");
  for (int32_t e = 0; e < f.entries; e++) method.entry(blocks, target[e]) += scaled[source[e]];
  for (int32_t c = 0; c < f.children; c++) {
    const auto [g, block] = child(c);
    if (g.border > 0) {
      extend_add<T>(team, blocks, block, g.border, t.parent_map + g.border_start, scratch.runs.get());
    }
  }
  method.eliminate(team, f, blocks);
}

// The fronts of one subtree, on one thread. Its own Schur complement goes to `result`.
template <class T, class Method>
void walk_subtree(const FactorTables& t, const Tree& tree, const Subtree& subtree, const T* scaled, Scratch<T>& scratch,
                  T* result, Method& method) {
  Team alone;
  scratch.prepare(tree);
  int32_t* pending = scratch.pending.get();
  for (int64_t s = subtree.begin; s < subtree.end; s++) {
    const Front& f = tree.fronts[s];
    pending -= f.children;
    const auto child = [&](int32_t c) {
      const Front& g = tree.fronts[pending[c]];
      return std::pair<const Front&, const T*>(g, scratch.stack.get() + g.schur_start);
    };
    T* schur = result != nullptr && s == subtree.end - 1 ? result : scratch.stack.get() + f.schur_start;
    visit<T>(alone, t, f, scaled, schur, scratch, method, child);
    *pending++ = static_cast<int32_t>(s);
  }
}

// Factorizes one member. The method has `scale(tables, data, scaled)`, which prepares the values; `open(team, front,
// schur, space)`, which clears the blocks of a front and says where they are, and `space(front)`, how much working space
// it wants for that; `entries(front)`, how many places matrix values can go to, and `entry(blocks, place)`; and
// `eliminate(team, front, blocks)`.
template <class T, class Method>
void walk(Team& team, const FactorTables& t, const Tree& tree, const Schedule& schedule, const T* data,
          Working<T>& work, Method& method) {
  if (!work.scaled) work.scaled = allocate<T>(t.nnz);
  work.scratch.resize(team.size());
  const T* scaled = work.scaled.get();
  method.scale(t, data, work.scaled.get());
  if (schedule.top.empty()) {
    team.loop(schedule.subtrees.size(), [&](int64_t i, int worker) {
      walk_subtree<T>(t, tree, schedule.subtrees[i], scaled, work.scratch[worker], nullptr, method);
    });
    return;
  }
  work.handed.resize(tree.fronts.size());
  const auto hand_over = [&](int64_t s) {
    const int64_t size = tree.fronts[s].schur_size();
    work.handed[s] = allocate<T>(size);
    prefer_large_pages(work.handed[s].get(), sizeof(T) * size);
    return work.handed[s].get();
  };
  team.loop(schedule.subtrees.size(), [&](int64_t i, int worker) {
    const Subtree& subtree = schedule.subtrees[i];
    walk_subtree<T>(t, tree, subtree, scaled, work.scratch[worker], hand_over(subtree.end - 1), method);
  });
  work.scratch[0].prepare(tree);
  for (size_t i = 0; i < schedule.top.size(); i++) {
    const int32_t s = schedule.top[i];
    const int32_t* children = schedule.children.data() + schedule.child_start[i];
    const auto child = [&](int32_t c) {
      return std::pair<const Front&, const T*>(tree.fronts[children[c]], work.handed[children[c]].get());
    };
    visit<T>(team, t, tree.fronts[s], scaled, hand_over(s), work.scratch[0], method, child);
    for (int32_t c = 0; c < tree.fronts[s].children; c++) work.handed[children[c]].reset();
  }
}

// Arithmetic and memory traffic of a front, for the balance between threads only.
inline double visit_cost(const Front& f) {
  const double k = f.pivots, rows = k + f.border;
  return rows * rows * (k + 10);
}

// Factorizes all members of a call whose results are batched like its data. `make(member)` is the method of a member;
// `factors` comes first among the results. Threads go to members where there are enough, to parts of the tree otherwise.
template <class T, class Make, class... Result>
void factor_members(ffi::ThreadPool& pool, const FactorTables& t, const View<const T>& data, FactorSize factor_size,
                    Make&& make, const View<T>& factors, const Result&... results) {
  require(data.size == t.nnz, "data must hold one value an entry of the pattern");
  const char* batched = "results must be batched like the data";
  require_same_batch(data, factors, batched);
  (require_same_batch(data, results, batched), ...);
  Tree tree = read_tree(t.fronts.data, t.fronts.core(0), {t.n, t.borders, t.entries, factors.size}, factor_size);
  constexpr int64_t kEntriesAThread = 100000;
  Team team(pool, static_cast<int>(std::min<int64_t>(factors.size * factors.members / kEntriesAThread, Team::kMost)));
  const bool by_member = data.members >= 2 * team.size();
  for (const Front& f : tree.fronts) tree.space_size = std::max(tree.space_size, decltype(make(0))::space(f));
  const Schedule schedule = make_schedule(tree, by_member ? 1 : team.size(), visit_cost);
  lay_out_stacks(tree, schedule);
  prefer_large_pages(factors.data, sizeof(T) * factors.size * factors.members);
  if (by_member) {
    std::vector<Working<T>> work(team.size());
    team.loop(data.members, [&](int64_t b, int worker) {
      Team alone;
      auto method = make(b);
      walk<T>(alone, t, tree, schedule, data.data + b * t.nnz, work[worker], method);
    });
  } else {
    Working<T> work;
    for (int64_t b = 0; b < data.members; b++) {
      auto method = make(b);
      walk<T>(team, t, tree, schedule, data.data + b * t.nnz, work, method);
    }
  }
}

}  // namespace sparsesolve

#endif  // SPARSESOLVE_ASSEMBLY_H_
