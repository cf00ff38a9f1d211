// Matrix-vector kernels of the solves, column-major blocks, eight columns at a time.
//
//   subtract_columns:  y <- y - A x, or y <- - A x when `Fresh`      A: m x k
//   subtract_dots:     y <- y - A^T x

#ifndef SPARSESOLVE_MATVEC_H_
#define SPARSESOLVE_MATVEC_H_

#include <cstddef>

#include "parallel.h"
#include "scalar.h"
#include "simd.h"

namespace sparsesolve {

// y[0..m) -= sum of Columns columns of A times x.
template <class T, int Columns, bool Fresh>
inline void subtract_some_columns(int m, const T* __restrict a, ptrdiff_t lda, const T* x, T* __restrict y) {
  using S = Simd<T>;
  int i = 0;
  for (; i + S::width <= m; i += S::width) {
    typename S::type sum = Fresh ? typename S::type{} : S::load(y + i);
#pragma GCC unroll 8
    for (int p = 0; p < Columns; p++) sum -= S::load(a + i + p * lda) * x[p];
    S::store(y + i, sum);
  }
  if (i < m) {
    typename S::type sum = Fresh ? typename S::type{} : S::load_n(y + i, m - i);
#pragma GCC unroll 8
    for (int p = 0; p < Columns; p++) sum -= S::load_n(a + i + p * lda, m - i) * x[p];
    S::store_n(y + i, sum, m - i);
  }
}

template <class T, int Columns>
inline void subtract_some_dots(int m, const T* __restrict a, ptrdiff_t lda, const T* __restrict x, T* y) {
  using S = Simd<T>;
  typename S::type sums[Columns];
#pragma GCC unroll 8
  for (int p = 0; p < Columns; p++) sums[p] = typename S::type{};
  int i = 0;
  for (; i + S::width <= m; i += S::width) {
    const typename S::type xi = S::load(x + i);
#pragma GCC unroll 8
    for (int p = 0; p < Columns; p++) sums[p] += S::load(a + i + p * lda) * xi;
  }
  if (i < m) {
    const typename S::type xi = S::load_n(x + i, m - i);
#pragma GCC unroll 8
    for (int p = 0; p < Columns; p++) sums[p] += S::load_n(a + i + p * lda, m - i) * xi;
  }
#pragma GCC unroll 8
  for (int p = 0; p < Columns; p++) y[p] -= S::sum(sums[p]);
}

template <class T, bool Fresh>
inline void subtract_rest_columns(int m, int count, const T* a, ptrdiff_t lda, const T* x, T* y) {
  switch (count) {
    case 1: return subtract_some_columns<T, 1, Fresh>(m, a, lda, x, y);
    case 2: return subtract_some_columns<T, 2, Fresh>(m, a, lda, x, y);
    case 3: return subtract_some_columns<T, 3, Fresh>(m, a, lda, x, y);
    case 4: return subtract_some_columns<T, 4, Fresh>(m, a, lda, x, y);
    case 5: return subtract_some_columns<T, 5, Fresh>(m, a, lda, x, y);
    case 6: return subtract_some_columns<T, 6, Fresh>(m, a, lda, x, y);
    case 7: return subtract_some_columns<T, 7, Fresh>(m, a, lda, x, y);
    case 8: return subtract_some_columns<T, 8, Fresh>(m, a, lda, x, y);
  }
}

template <class T, bool Fresh>
void subtract_columns(int m, int k, const T* a, const T* x, T* y, ptrdiff_t lda) {
  if constexpr (ScalarTraits<T>::is_complex) {
    if (Fresh) std::fill(y, y + m, T(0));
    for (int p = 0; p < k; p++) {
      const T* __restrict column = a + p * lda;
      const T factor = x[p];
      for (int i = 0; i < m; i++) y[i] -= multiply(column[i], factor);
    }
  } else {
    const int head = (k - 1) % 8 + 1;
    subtract_rest_columns<T, Fresh>(m, head, a, lda, x, y);
    for (int p = head; p < k; p += 8) subtract_some_columns<T, 8, false>(m, a + p * lda, lda, x + p, y);
  }
}

template <class T>
inline void subtract_rest_dots(int m, int count, const T* a, ptrdiff_t lda, const T* x, T* y) {
  switch (count) {
    case 1: return subtract_some_dots<T, 1>(m, a, lda, x, y);
    case 2: return subtract_some_dots<T, 2>(m, a, lda, x, y);
    case 3: return subtract_some_dots<T, 3>(m, a, lda, x, y);
    case 4: return subtract_some_dots<T, 4>(m, a, lda, x, y);
    case 5: return subtract_some_dots<T, 5>(m, a, lda, x, y);
    case 6: return subtract_some_dots<T, 6>(m, a, lda, x, y);
    case 7: return subtract_some_dots<T, 7>(m, a, lda, x, y);
    case 8: return subtract_some_dots<T, 8>(m, a, lda, x, y);
  }
}

template <class T>
void subtract_dots(int m, int k, const T* a, const T* x, T* y, ptrdiff_t lda) {
  if constexpr (ScalarTraits<T>::is_complex) {
    for (int p = 0; p < k; p++) {
      const T* __restrict column = a + p * lda;
      T sum(0);
      for (int i = 0; i < m; i++) sum += multiply(column[i], x[i]);
      y[p] -= sum;
    }
  } else {
    const int head = (k - 1) % 8 + 1;
    subtract_rest_dots<T>(m, head, a, lda, x, y);
    for (int p = head; p < k; p += 8) subtract_some_dots<T, 8>(m, a + p * lda, lda, x, y + p);
  }
}

// The same by all threads where the block is large: rows do not depend on each other, nor do the results of dots.
constexpr int64_t kSharedEntries = 1 << 15;

template <class T>
void subtract_columns(Team& team, int m, int k, const T* a, const T* x, T* y, ptrdiff_t lda) {
  if (team.size() == 1 || static_cast<int64_t>(m) * k < kSharedEntries) {
    if (m > 0) subtract_columns<T, false>(m, k, a, x, y, lda);
    return;
  }
  for_strips(team, m, [&](int i, int count) { subtract_columns<T, false>(count, k, a + i, x, y + i, lda); });
}

template <class T>
void subtract_dots(Team& team, int m, int k, const T* a, const T* x, T* y, ptrdiff_t lda) {
  if (team.size() == 1 || static_cast<int64_t>(m) * k < kSharedEntries) {
    if (m > 0) subtract_dots<T>(m, k, a, x, y, lda);
    return;
  }
  constexpr int kColumns = 16;
  team.loop((k + kColumns - 1) / kColumns, [&](int64_t i, int) {
    const int first = static_cast<int>(i) * kColumns;
    subtract_dots<T>(m, std::min(kColumns, k - first), a + first * lda, x, y + first, lda);
  });
}

}  // namespace sparsesolve

#endif  // SPARSESOLVE_MATVEC_H_
