// Matrix-vector kernels of the solves, column-major blocks, eight columns at a time.
//
//   subtract_columns:  y <- y - A x          A: m x k with leading dimension m
//   subtract_dots:     y <- y - A^T x

#ifndef SPARSESOLVE_MATVEC_H_
#define SPARSESOLVE_MATVEC_H_

#include <cstddef>

#include "scalar.h"
#include "simd.h"

namespace sparsesolve {

// y[0..m) -= sum of Columns columns of A times x.
template <class T, int Columns>
inline void subtract_some_columns(int m, const T* __restrict a, ptrdiff_t lda, const T* x, T* __restrict y) {
  using S = Simd<T>;
  int i = 0;
  for (; i + S::width <= m; i += S::width) {
    typename S::type sum = S::load(y + i);
#pragma GCC unroll 8
    for (int p = 0; p < Columns; p++) sum -= S::load(a + i + p * lda) * x[p];
    S::store(y + i, sum);
  }
  if (i < m) {
    typename S::type sum = S::load_n(y + i, m - i);
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

template <class T>
void subtract_columns(int m, int k, const T* a, const T* x, T* y, ptrdiff_t lda) {
  if constexpr (ScalarTraits<T>::is_complex) {
    for (int p = 0; p < k; p++) {
      const T* __restrict column = a + p * lda;
      const T factor = x[p];
      for (int i = 0; i < m; i++) y[i] -= multiply(column[i], factor);
    }
  } else {
    int p = 0;
    for (; p + 8 <= k; p += 8) subtract_some_columns<T, 8>(m, a + p * lda, lda, x + p, y);
    if (k - p >= 4) subtract_some_columns<T, 4>(m, a + p * lda, lda, x + p, y), p += 4;
    if (k - p >= 2) subtract_some_columns<T, 2>(m, a + p * lda, lda, x + p, y), p += 2;
    if (k > p) subtract_some_columns<T, 1>(m, a + p * lda, lda, x + p, y);
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
    int p = 0;
    for (; p + 8 <= k; p += 8) subtract_some_dots<T, 8>(m, a + p * lda, lda, x, y + p);
    if (k - p >= 4) subtract_some_dots<T, 4>(m, a + p * lda, lda, x, y + p), p += 4;
    if (k - p >= 2) subtract_some_dots<T, 2>(m, a + p * lda, lda, x, y + p), p += 2;
    if (k > p) subtract_some_dots<T, 1>(m, a + p * lda, lda, x, y + p);
  }
}

}  // namespace sparsesolve

#endif  // SPARSESOLVE_MATVEC_H_
