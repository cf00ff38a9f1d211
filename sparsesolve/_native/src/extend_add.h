// Extend-add: the Schur complement of a child enters the front of its parent.
//
// `map[i]` is the place of the child's border row i among the parent's rows, pivots first, strictly increasing. With q
// of them among the pivots the block splits into four: into D, into L, into C, and transposed into Ut. Neighbouring rows
// of a child are mostly neighbours in the parent too (both are sorted by place), so where runs are long the addition goes
// by runs, and by single entries otherwise. Cost: one addition an entry of the child's block.

#ifndef SPARSESOLVE_EXTEND_ADD_H_
#define SPARSESOLVE_EXTEND_ADD_H_

#include <cstdint>

#include "parallel.h"
#include "tree.h"

namespace sparsesolve {

template <class T>
struct FrontBlocks {
  int k, m;
  T *d, *l, *ut, *c;
};

constexpr int kRunLength = 5;  // on average, from which runs pay

// Adds column `from[begin..end)` at `to[map[.] - shift]`.
template <class T>
inline void scatter_column(const T* __restrict from, const int32_t* __restrict map, int begin, int end, int shift,
                           T* __restrict to) {
  for (int i = begin; i < end; i++) to[map[i] - shift] += from[i];
}

template <class T>
inline void add_runs(const T* __restrict from, const int32_t* __restrict map, const int32_t* __restrict runs, int count,
                     int shift, T* __restrict to) {
  for (int r = 0; r < count; r++) {
    const int begin = runs[r], length = runs[r + 1] - begin;
    T* __restrict target = to + map[begin] - shift;
    const T* __restrict source = from + begin;
    for (int i = 0; i < length; i++) target[i] += source[i];
  }
}

// Starts of the runs of map[begin..end), then end. Returns how many there are.
inline int find_runs(const int32_t* map, int begin, int end, int32_t* runs) {
  int count = 0;
  for (int i = begin; i < end; i++) {
    if (i == begin || map[i] != map[i - 1] + 1) runs[count++] = i;
  }
  runs[count] = end;
  return count;
}

// Checks a map, and counts its rows among the `k` pivots of the parent.
inline int rows_among_pivots(const int32_t* map, int size, int k, int m) {
  int q = 0, last = -1;
  for (int i = 0; i < size; i++) {
    require(map[i] > last && map[i] < k + m, "parent_map: rows must increase and lie in the parent");
    last = map[i];
    q += last < k;
  }
  return q;
}

// `runs` is working space for size + 1 numbers. Columns of the child go to places of their own.
template <class T>
void extend_add(Team& team, const FrontBlocks<T>& front, const T* child, int size, const int32_t* map, int32_t* runs) {
  const int k = front.k, m = front.m, q = rows_among_pivots(map, size, k, m);
  const int count = find_runs(map, q, size, runs);
  const bool by_runs = (size - q) >= kRunLength * count;
  for_strips(team, size, [&](int begin, int columns) {
    const int stop = begin + columns;
    for (int j = begin; j < std::min(q, stop); j++) {
      const T* from = child + static_cast<ptrdiff_t>(j) * size;
      scatter_column(from, map, 0, q, 0, front.d + static_cast<ptrdiff_t>(map[j]) * k);
      scatter_column(from, map, q, size, k, front.l + static_cast<ptrdiff_t>(map[j]) * m);
    }
    for (int j = std::max(q, begin); j < stop; j++) {
      const T* from = child + static_cast<ptrdiff_t>(j) * size;
      T* upper = front.ut + (map[j] - k);
      for (int i = 0; i < q; i++) upper[static_cast<ptrdiff_t>(map[i]) * m] += from[i];
      T* to = front.c + static_cast<ptrdiff_t>(map[j] - k) * m;
      if (by_runs) {
        add_runs(from, map, runs, count, k, to);
      } else {
        scatter_column(from, map, q, size, k, to);
      }
    }
  });
}

// A front of a symmetric matrix: lower triangles of `d` and `c`, and working space for its elimination.
template <class T>
struct LowerBlocks {
  int k, m;
  T *d, *l, *c, *space;
};

// The same for the lower triangle.
template <class T>
void extend_add(Team& team, const LowerBlocks<T>& front, const T* child, int size, const int32_t* map, int32_t* runs) {
  const int k = front.k, m = front.m, q = rows_among_pivots(map, size, k, m);
  const int count = find_runs(map, q, size, runs);
  const bool by_runs = (size - q) >= kRunLength * count;
  for_strips(team, size, [&](int begin, int columns) {
    int run = 0;
    for (int j = begin; j < begin + columns; j++) {
      const T* from = child + static_cast<ptrdiff_t>(j) * size;
      if (j < q) {
        scatter_column(from, map, j, q, 0, front.d + static_cast<ptrdiff_t>(map[j]) * k);
        scatter_column(from, map, q, size, k, front.l + static_cast<ptrdiff_t>(map[j]) * m);
        continue;
      }
      T* to = front.c + static_cast<ptrdiff_t>(map[j] - k) * m;
      if (by_runs) {
        while (runs[run + 1] <= j) run++;
        const int32_t rest[2] = {j, runs[run + 1]};
        add_runs(from, map, rest, 1, k, to);
        add_runs(from, map, runs + run + 1, count - run - 1, k, to);
      } else {
        scatter_column(from, map, j, size, k, to);
      }
    }
  });
}

}  // namespace sparsesolve

#endif  // SPARSESOLVE_EXTEND_ADD_H_
