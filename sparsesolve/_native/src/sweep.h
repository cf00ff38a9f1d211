// What all multifrontal solves share: the sweeps over the tree, many right-hand sides and batches of factors.
//
// The scaled right-hand sides lie in elimination order in one working vector y, `group` of them interleaved:
// y[place * group + r]. The pivots of a front are contiguous there. Upwards, what a front takes from its border goes to
// its parent on a stack, as Schur complements do; so subtrees are independent of each other, and every sum has one order.
// Downwards, the border is gathered from y. One right-hand side runs on matrix-vector kernels, several on the products of
// the factorization, so that the factors are read once. Right-hand sides along trailing batch dimensions in which the
// factors have length 1 share them. Threads go to groups of right-hand sides where there are enough, to parts of the tree
// otherwise.

#ifndef SPARSESOLVE_SWEEP_H_
#define SPARSESOLVE_SWEEP_H_

#include <cstring>

#include "buffers.h"
#include "parallel.h"
#include "refine.h"
#include "schedule.h"
#include "solve_one.h"
#include "triangular.h"

namespace sparsesolve {

constexpr int64_t kGroup = 32;  // right-hand sides solved at once

struct SolveTables {
  View<const int32_t> fronts;
  int64_t n, borders;
  const int32_t *border, *parent_map;
};

inline SolveTables solve_tables(const ffi::AnyBuffer& fronts_buffer, const ffi::AnyBuffer& border_buffer,
                                const ffi::AnyBuffer& map_buffer, int64_t n) {
  const auto fronts = table(fronts_buffer, 2, "fronts");
  const auto border = table(border_buffer, 1, "border");
  const auto map = table(map_buffer, 1, "parent_map");
  require(fronts.core(1) == 4, "fronts must have four columns");
  require(map.size == border.size, "border and parent_map must be equally long");
  require_below(border.data, border.size, n, "border: a row is outside the matrix");
  return {fronts, n, border.size, border.data, map.data};
}

// A permutation table: where each place's unknown is.
inline View<const int32_t> order_table(const ffi::AnyBuffer& buffer, const char* name, const char* message) {
  const auto order = table(buffer, 1, name);
  require_below(order.data, order.size, order.size, message);
  return order;
}

// Exchanges the pivots of one front as the factorization did.
template <class T>
void exchange(const int32_t* pivots, int64_t k, int group, T* y, bool backwards) {
  for (int64_t i = 0; i < k; i++) {
    const int64_t j = backwards ? k - 1 - i : i;
    if (pivots[j] != j) std::swap_ranges(y + j * group, y + (j + 1) * group, y + int64_t{pivots[j]} * group);
  }
}

// What one worker needs: rows of one front, the stack of updates on their way to parents, and whose they are.
template <class T>
struct SweepScratch {
  Workspace<T> rows, stack;
  Workspace<int32_t> pending;
  int64_t capacity = 0;  // right-hand sides

  void prepare(const Tree& tree) {
    if (rows) return;
    rows = allocate<T>(tree.largest_front * capacity);
    stack = allocate<T>(tree.largest_updates * capacity);
    pending = allocate<int32_t>(tree.fronts.size());
  }
};

template <class T>
struct Sweep {
  Workspace<T> y;
  int64_t capacity = 0;                  // right-hand sides that y has room for
  std::vector<SweepScratch<T>> scratch;  // one a worker
  std::vector<Workspace<T>> handed;      // updates on their way to a front above all subtrees
};

// Asks for a block that is needed soon. Fronts are too small for the hardware to notice the direction.
template <class T>
inline void prefetch(const T* block, int64_t count) {
  const char* at = reinterpret_cast<const char*>(block);
  const int64_t bytes = std::min<int64_t>(count * sizeof(T), 8192);
  for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(at + i);
}

// rows[map[i]] += update[i] for the border rows of a child.
template <class T>
inline void add_update(const int32_t* map, int64_t m, int64_t rows_in_parent, int group, const T* update, T* rows) {
  const uint32_t bound = static_cast<uint32_t>(rows_in_parent);
  uint32_t largest = 0;
  for (int64_t i = 0; i < m; i++) {
    const uint32_t at = static_cast<uint32_t>(map[i]), inside = std::min(at, bound - 1);
    largest = std::max(largest, at);
    T* to = rows + int64_t{inside} * group;
    if (group == 1) {
      *to += update[i];
    } else {
      for (int r = 0; r < group; r++) to[r] += update[i * group + r];
    }
  }
  require(largest < bound, "parent_map: a row is outside the parent");
}

// Short copies without a jump for each length.
template <class T>
inline void copy_rows(const T* from, int64_t count, T* to) {
  if constexpr (ScalarTraits<T>::is_complex) {
    std::copy(from, from + count, to);
  } else {
    using S = Simd<T>;
    for (int64_t i = 0; i < count; i += S::width) {
      const int some = static_cast<int>(std::min<int64_t>(S::width, count - i));
      S::store_n(to + i, S::load_n(from + i, some), some);
    }
  }
}

template <class T>
inline void clear_rows(int64_t count, T* to) {
  if constexpr (ScalarTraits<T>::is_complex) {
    std::fill(to, to + count, T(0));
  } else {
    using S = Simd<T>;
    for (int64_t i = 0; i < count; i += S::width) {
      S::store_n(to + i, typename S::type{}, static_cast<int>(std::min<int64_t>(S::width, count - i)));
    }
  }
}

// One front on the way up: pivots and updates of the children meet in `rows`, pivots return to y, the rest goes on.
template <class T, class Method, class Child>
inline void go_up(Team& team, const SolveTables& t, const Front& f, const Method& method, int group, T* y, T* rows,
                  Child&& child) {
  const int64_t k = f.pivots, m = f.border, all = k + m;
  T* pivots = y + f.first * group;
  copy_rows<T>(pivots, k * group, rows);
  clear_rows<T>(m * group, rows + k * group);
  for (int32_t c = f.children - 1; c >= 0; c--) {
    const auto [g, update] = child(c);
    add_update(t.parent_map + g->border_start, g->border, all, group, update, rows);
  }
  method.forward(team, f, group, rows, rows + k * group);
  copy_rows<T>(rows, k * group, pivots);
}

template <class T, class Method>
inline void go_down(Team& team, const SolveTables& t, const Front& f, const Method& method, int group, T* y, T* rows) {
  const int32_t* border = t.border + f.border_start;
  if constexpr (!ScalarTraits<T>::is_complex) {
    using S = Simd<T>;
    for (int i = 0; group == 1 && i < f.border; i += S::width) {
      const int some = std::min(S::width, f.border - i);
      S::store_n(rows + i, S::gather_n(y, border + i, some), some);
    }
  }
  if (ScalarTraits<T>::is_complex || group > 1) {
    for (int64_t i = 0; i < f.border; i++) {
      std::memcpy(static_cast<void*>(rows + i * group), y + int64_t{border[i]} * group, sizeof(T) * group);
    }
  }
  method.backward(team, f, group, y + f.first * group, rows);
}

template <class T, class Method>
void subtree_up(const SolveTables& t, const Tree& tree, const Subtree& subtree, const Method& method, int group, T* y,
                SweepScratch<T>& scratch, T* result) {
  Team alone;
  scratch.prepare(tree);
  T *rows = scratch.rows.get(), *stack = scratch.stack.get();
  int32_t* pending = scratch.pending.get();
  for (int64_t s = subtree.begin; s < subtree.end; s++) {
    const Front& f = tree.fronts[s];
    if (s + 1 < subtree.end) prefetch(method.factors + tree.fronts[s + 1].factor_start, tree.fronts[s + 1].factor_size);
    const auto child = [&](int32_t) {
      const Front* g = &tree.fronts[*--pending];
      stack -= int64_t{g->border} * group;
      return std::pair<const Front*, const T*>(g, stack);
    };
    go_up<T>(alone, t, f, method, group, y, rows, child);
    const int64_t size = int64_t{f.border} * group;
    const bool last = result != nullptr && s + 1 == subtree.end;
    copy_rows<T>(rows + int64_t{f.pivots} * group, size, last ? result : stack);
    stack += size;
    *pending++ = static_cast<int32_t>(s);
  }
}

template <class T, class Method>
void subtree_down(const SolveTables& t, const Tree& tree, const Subtree& subtree, const Method& method, int group, T* y,
                  SweepScratch<T>& scratch) {
  Team alone;
  scratch.prepare(tree);
  for (int64_t s = subtree.end - 1; s >= subtree.begin; s--) {
    if (s > subtree.begin) prefetch(method.factors + tree.fronts[s - 1].factor_start, tree.fronts[s - 1].factor_size);
    go_down<T>(alone, t, tree.fronts[s], method, group, y, scratch.rows.get());
  }
}

// `group` right-hand sides, one after the other in `rhs` and in `x`. The method has the factors, the tables `take` and
// `give` with scales `before` and `after`, the kernels `forward` and `backward` of one front, and `turn` between sweeps.
template <class T, class Method>
void solve_group(Team& team, const Tree& tree, const Schedule& schedule, const SolveTables& t, const Method& method,
                 int group, const T* rhs, T* x, Sweep<T>& sweep) {
  const int32_t *take = method.take, *give = method.give;
  sweep.scratch.resize(team.size());
  for (SweepScratch<T>& scratch : sweep.scratch) scratch.capacity = sweep.capacity;
  sweep.handed.resize(schedule.top.empty() ? 0 : tree.fronts.size());
  T* y = sweep.y.get();
  for (int64_t p = 0; p < t.n; p++) {
    for (int r = 0; r < group; r++) y[p * group + r] = rhs[r * t.n + take[p]] * method.before[take[p]];
  }
  const auto hand_over = [&](int64_t s) -> T* {
    if (schedule.top.empty()) return nullptr;
    sweep.handed[s] = allocate<T>(int64_t{tree.fronts[s].border} * group);
    return sweep.handed[s].get();
  };
  const int64_t parts = static_cast<int64_t>(schedule.subtrees.size());
  team.loop(parts, [&](int64_t i, int worker) {
    const Subtree& part = schedule.subtrees[i];
    subtree_up<T>(t, tree, part, method, group, y, sweep.scratch[worker], hand_over(part.end - 1));
  });
  sweep.scratch[0].prepare(tree);
  T* rows = sweep.scratch[0].rows.get();
  for (size_t i = 0; i < schedule.top.size(); i++) {
    const int32_t s = schedule.top[i];
    const Front& f = tree.fronts[s];
    const int32_t* children = schedule.children.data() + schedule.child_start[i];
    const auto child = [&](int32_t c) {
      return std::pair<const Front*, const T*>(&tree.fronts[children[c]], sweep.handed[children[c]].get());
    };
    go_up<T>(team, t, f, method, group, y, rows, child);
    std::memcpy(static_cast<void*>(hand_over(s)), rows + int64_t{f.pivots} * group, sizeof(T) * f.border * group);
  }
  method.turn(y, t.n * group);
  for (size_t i = schedule.top.size(); i-- > 0;) {
    go_down<T>(team, t, tree.fronts[schedule.top[i]], method, group, y, rows);
  }
  team.loop(parts, [&](int64_t i, int worker) {
    subtree_down<T>(t, tree, schedule.subtrees[i], method, group, y, sweep.scratch[worker]);
  });
  method.turn(y, t.n * group);
  for (int64_t p = 0; p < t.n; p++) {
    for (int r = 0; r < group; r++) x[r * t.n + give[p]] = y[p * group + r] * method.after[give[p]];
  }
}

// Runs over the members of a call. `make(pointers to the member of each operand)` makes the solver of one member;
// `factors` comes first among the operands. `checked`, if not null, improves what was found (`refine.h`).
template <class T, class Make, class... Operand>
void solve_members(ffi::ThreadPool& pool, const SolveTables& t, FactorSize factor_size, const View<const T>& rhs,
                   const View<T>& x, const Checked<T>* checked, Make&& make, const View<const T>& factors,
                   const Operand&... operands) {
  if (checked != nullptr) checked->check(x);
  require(rhs.size == t.n && x.size == t.n, "right-hand side and solution must hold one number an unknown");
  const size_t rank = x.batch_rank;
  require_broadcast(rhs, x.dims, rank);
  require_broadcast(factors, x.dims, rank);
  (require_broadcast(operands, x.dims, rank), ...);
  const Tree tree = read_tree(t.fronts.data, t.fronts.core(0), {t.n, t.borders, -1, factors.size}, factor_size);
  // The leading batch dimensions along which factors differ, or along which the right-hand side is shared.
  size_t axes = rank;
  const auto shared = [&](size_t i) {
    return factors.dims[i] == 1 && ((operands.dims[i] == 1) && ...) && rhs.dims[i] == x.dims[i];
  };
  while (axes > 0 && shared(axes - 1)) axes--;
  int64_t outer = 1, inner = 1;
  for (size_t i = 0; i < rank; i++) (i < axes ? outer : inner) *= x.dims[i];
  if (outer * inner == 0) return;
  const int64_t group = std::min(inner, kGroup), groups = (inner + group - 1) / group, tasks = outer * groups;
  constexpr int64_t kEntriesAThread = 300000;
  Team team(pool, static_cast<int>(std::min<int64_t>(factors.size * outer * inner / kEntriesAThread, Team::kMost)));
  const bool by_group = tasks >= 2 * team.size();
  const Schedule schedule = make_schedule(tree, by_group ? 1 : team.size(), [](const Front& f) {
    return 300.0 + static_cast<double>(f.factor_size);
  });
  std::vector<Sweep<T>> sweeps(by_group ? team.size() : 1);
  const auto run = [&](Team& threads, int64_t task, Sweep<T>& sweep) {
    std::vector<int64_t> index(axes);
    int64_t o = task / groups, rest = o;
    for (size_t i = axes; i-- > 0; rest /= x.dims[i]) index[i] = rest % x.dims[i];
    const auto at = [&](const auto& operand) { return operand.data + member(operand, index.data(), axes) * operand.size; };
    const auto method = make(at(factors), at(operands)...);
    const int64_t first = task % groups * group;
    if (!sweep.y) {
      sweep.y = allocate<T>(t.n * group);
      sweep.capacity = group;
    }
    const FactorSolve<T> solve = [&](int64_t count, const T* from, T* to) {
      solve_group<T>(threads, tree, schedule, t, method, static_cast<int>(count), from, to, sweep);
    };
    const int64_t some = std::min(group, inner - first), begin = o * inner + first;
    solve(some, at(rhs) + first * t.n, x.data + begin * t.n);
    if (checked != nullptr) checked->run(threads, x, begin, some, solve);
  };
  if (by_group) {
    team.loop(tasks, [&](int64_t task, int worker) {
      Team alone;
      run(alone, task, sweeps[worker]);
    });
  } else {
    for (int64_t task = 0; task < tasks; task++) run(team, task, sweeps[0]);
  }
}

}  // namespace sparsesolve

#endif  // SPARSESOLVE_SWEEP_H_
