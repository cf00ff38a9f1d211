// The inner loop of the simplicial LU and of its forward solve: multiples of a few columns of L leave a dense vector.
//
//   x[row] <- x[row] - sum_s u_s L(row, j + s)    for the rows that columns j .. j + S - 1 of a chain share
//
// The columns of a chain end alike, so that one pass over the rows serves up to four of them, and up to four vectors x
// that need the same columns. Where rows come in runs a single matrix goes through them by whole registers.

#ifndef SPARSESOLVE_COLUMN_UPDATE_H_
#define SPARSESOLVE_COLUMN_UPDATE_H_

#include "lanes.h"
#include "simd.h"
#include "simplicial.h"

namespace sparsesolve {

// What the columns of L are, relative to x: lanes by lanes, or one number for all lanes (many right-hand sides).
template <class L, class F>
inline typename L::Value spread(const F& x) {
  if constexpr (std::is_same_v<F, typename L::Value>) {
    return x;
  } else if constexpr (ScalarTraits<F>::is_complex) {
    return {x.real() - typename L::Size{}, x.imag() - typename L::Size{}};
  } else {
    return x - typename L::Value{};
  }
}

// Targets of an update: G vectors x, and where the entries at the pivots go (to[g] of each).
template <class V, int G>
struct Targets {
  V* x[G];
  V* to[G];
};

// One run of rows for real numbers and a single matrix. l[s] points to the entries of column s in this run.
template <class T, int S, int G>
inline void update_run(int length, int64_t row, const Targets<T, G>& targets, const T* const* l, const T (*u)[G]) {
  using V = Simd<T>;
  int i = 0;
  for (; i + V::width <= length; i += V::width) {
    typename V::type column[S];
#pragma GCC unroll 4
    for (int s = 0; s < S; s++) column[s] = V::load(l[s] + i);
#pragma GCC unroll 4
    for (int g = 0; g < G; g++) {
      T* x = targets.x[g] + row + i;
      typename V::type sum = V::load(x);
#pragma GCC unroll 4
      for (int s = 0; s < S; s++) sum -= column[s] * u[s][g];
      V::store(x, sum);
    }
  }
  if (i < length) {
    typename V::type column[S];
#pragma GCC unroll 4
    for (int s = 0; s < S; s++) column[s] = V::load_n(l[s] + i, length - i);
#pragma GCC unroll 4
    for (int g = 0; g < G; g++) {
      T* x = targets.x[g] + row + i;
      typename V::type sum = V::load_n(x, length - i);
#pragma GCC unroll 4
      for (int s = 0; s < S; s++) sum -= column[s] * u[s][g];
      V::store_n(x, sum, length - i);
    }
  }
}

// Columns j .. j + S - 1 of a chain; `to` receives the entries of x at their pivots, each after the columns before it.
// There x is cleared, unless they stay there.
template <class L, bool Runs, bool Clear, int S, int G, class F>
inline void update(const Simplicial& t, int64_t j, const F* factor, const Targets<typename L::Value, G>& targets) {
  using Value = typename L::Value;
  const F* l[S];
  Value u[S][G];
#pragma GCC unroll 4
  for (int s = 0; s < S; s++) {
    l[s] = factor + t.columns[j + s].l;
#pragma GCC unroll 4
    for (int g = 0; g < G; g++) {
      Value value = targets.x[g][j + s];
#pragma GCC unroll 4
      for (int r = 0; r < s; r++) L::subtract(value, u[r][g], spread<L>(l[r][s - 1 - r]));
      u[s][g] = targets.to[g][s] = value;
      if (Clear) targets.x[g][j + s] = L::zero();
    }
  }
  const Column& last = t.columns[j + S - 1];
  const int64_t count = (&last)[1].l - last.l;
  const int32_t* __restrict rows = t.l_row + last.l;
#pragma GCC unroll 4
  for (int s = 0; s < S; s++) l[s] += S - 1 - s;
  if constexpr (Runs && std::is_floating_point_v<Value>) {
    for (int64_t r = last.run; r < (&last)[1].run; r++) {
      const int32_t length = t.l_runs[2 * r + 1];
      update_run<Value, S, G>(length, t.l_runs[2 * r], targets, l, u);
#pragma GCC unroll 4
      for (int s = 0; s < S; s++) l[s] += length;
    }
  } else {
    for (int64_t i = 0; i < count; i++) {
      const int64_t row = rows[i];
      Value column[S];
#pragma GCC unroll 4
      for (int s = 0; s < S; s++) column[s] = spread<L>(l[s][i]);
#pragma GCC unroll 4
      for (int g = 0; g < G; g++) {
        Value value = targets.x[g][row];
#pragma GCC unroll 4
        for (int s = 0; s < S; s++) L::subtract(value, u[s][g], column[s]);
        targets.x[g][row] = value;
      }
    }
  }
}

// As many columns as possible, at most four; returns how many.
template <class L, bool Runs, bool Clear, int G, class F>
inline int update_chain(const Simplicial& t, int64_t j, int64_t most, const F* factor,
                        const Targets<typename L::Value, G>& targets) {
  switch (std::min<int64_t>(most, t.columns[j].chain)) {
    case 1: return update<L, Runs, Clear, 1, G>(t, j, factor, targets), 1;
    case 2: return update<L, Runs, Clear, 2, G>(t, j, factor, targets), 2;
    case 3: return update<L, Runs, Clear, 3, G>(t, j, factor, targets), 3;
    default: return update<L, Runs, Clear, 4, G>(t, j, factor, targets), 4;
  }
}

}  // namespace sparsesolve

#endif  // SPARSESOLVE_COLUMN_UPDATE_H_
