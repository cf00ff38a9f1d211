// The inner loop of the simplicial LU and of its forward solve: multiples of a few columns of L leave a dense vector.
//
//   x[row] <- x[row] - sum_s u_s L(row, j + s)    for the rows that columns j .. j + S - 1 of a chain share
//
// The columns of a chain end alike, so that one pass over the rows serves up to four of them. Where rows come in runs a
// single matrix goes through them by whole registers.

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

// One run of rows for real numbers and a single matrix. l[s] points to the entries of column s in this run.
template <class T, int S>
inline void update_run(int length, T* __restrict x, const T* const* l, const T* u) {
  using V = Simd<T>;
  int i = 0;
  for (; i + V::width <= length; i += V::width) {
    typename V::type sum = V::load(x + i);
#pragma GCC unroll 4
    for (int s = 0; s < S; s++) sum -= V::load(l[s] + i) * u[s];
    V::store(x + i, sum);
  }
  if (i < length) {
    typename V::type sum = V::load_n(x + i, length - i);
#pragma GCC unroll 4
    for (int s = 0; s < S; s++) sum -= V::load_n(l[s] + i, length - i) * u[s];
    V::store_n(x + i, sum, length - i);
  }
}

// Columns j .. j + S - 1 of a chain; `to` receives the entries of x at their pivots, each after the columns before it.
// There x is cleared, unless they stay there.
template <class L, bool Runs, bool Clear, int S, class F>
inline void update(const Simplicial& t, int64_t j, const F* factor, typename L::Value* x, typename L::Value* to) {
  using Value = typename L::Value;
  const F* l[S];
  Value u[S];
#pragma GCC unroll 4
  for (int s = 0; s < S; s++) {
    Value value = x[j + s];
#pragma GCC unroll 4
    for (int r = 0; r < s; r++) L::subtract(value, u[r], spread<L>(l[r][s - 1 - r]));
    u[s] = to[s] = value;
    if (Clear) x[j + s] = L::zero();
    l[s] = factor + t.columns[j + s].l;
  }
  const Column& last = t.columns[j + S - 1];
  const int64_t count = (&last)[1].l - last.l;
  const int32_t* __restrict rows = t.l_row + last.l;
#pragma GCC unroll 4
  for (int s = 0; s < S; s++) l[s] += S - 1 - s;
  if constexpr (Runs && std::is_floating_point_v<Value>) {
    for (int64_t r = last.run; r < (&last)[1].run; r++) {
      const int32_t length = t.l_runs[2 * r + 1];
      update_run<Value, S>(length, x + t.l_runs[2 * r], l, u);
#pragma GCC unroll 4
      for (int s = 0; s < S; s++) l[s] += length;
    }
  } else {
    for (int64_t i = 0; i < count; i++) {
      Value value = x[rows[i]];
#pragma GCC unroll 4
      for (int s = 0; s < S; s++) L::subtract(value, u[s], spread<L>(l[s][i]));
      x[rows[i]] = value;
    }
  }
}

// As many columns as possible, at most four; returns how many.
template <class L, bool Runs, bool Clear, class F>
inline int update_chain(const Simplicial& t, int64_t j, int64_t most, const F* factor, typename L::Value* x,
                        typename L::Value* to) {
  switch (std::min<int64_t>(most, t.columns[j].chain)) {
    case 1: return update<L, Runs, Clear, 1>(t, j, factor, x, to), 1;
    case 2: return update<L, Runs, Clear, 2>(t, j, factor, x, to), 2;
    case 3: return update<L, Runs, Clear, 3>(t, j, factor, x, to), 3;
    default: return update<L, Runs, Clear, 4>(t, j, factor, x, to), 4;
  }
}

}  // namespace sparsesolve

#endif  // SPARSESOLVE_COLUMN_UPDATE_H_
