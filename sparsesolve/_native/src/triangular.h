// Triangular solves with small blocks: X <- X T^-1 from the right, and X <- L^-1 X from the left (L unit lower).
//
// From the right, T is upper triangular with element (p, j), p < j, at t[p * tp + j * tj] and, unless `Unit`, the
// INVERSE of its diagonal element at t[j * (tp + tj)]. X is m x k, column-major. Recursion halves k, so that most of
// the work is in products; blocks of at most 8 columns are solved with one vector of rows a column in registers.

#ifndef SPARSESOLVE_TRIANGULAR_H_
#define SPARSESOLVE_TRIANGULAR_H_

#include "product.h"

namespace sparsesolve {

constexpr int kBlock = 8;

template <class T, int Columns, bool Unit>
inline void solve_right_columns(int m, const T* t, ptrdiff_t tp, ptrdiff_t tj, T* x, ptrdiff_t ldx) {
  using S = Simd<T>;
  using V = typename S::type;
  for (int i = 0; i < m; i += S::width) {
    const int count = std::min(S::width, m - i);
    V column[Columns];
#pragma GCC unroll 8
    for (int j = 0; j < Columns; j++) {
      column[j] = count == S::width ? S::load(x + i + j * ldx) : S::load_n(x + i + j * ldx, count);
    }
#pragma GCC unroll 8
    for (int j = 0; j < Columns; j++) {
#pragma GCC unroll 8
      for (int p = 0; p < j; p++) column[j] -= column[p] * t[p * tp + j * tj];
      if (!Unit) column[j] *= t[j * (tp + tj)];
    }
#pragma GCC unroll 8
    for (int j = 0; j < Columns; j++) {
      if (count == S::width) {
        S::store(x + i + j * ldx, column[j]);
      } else {
        S::store_n(x + i + j * ldx, column[j], count);
      }
    }
  }
}

template <class T, bool Unit>
void solve_right_block(int m, int k, const T* t, ptrdiff_t tp, ptrdiff_t tj, T* x, ptrdiff_t ldx) {
  if constexpr (ScalarTraits<T>::is_complex) {
    for (int j = 0; j < k; j++) {
      T* __restrict to = x + j * ldx;
      for (int p = 0; p < j; p++) {
        const T factor = t[p * tp + j * tj];
        const T* __restrict from = x + p * ldx;
        for (int i = 0; i < m; i++) to[i] -= multiply(from[i], factor);
      }
      if (!Unit) {
        const T inverse = t[j * (tp + tj)];
        for (int i = 0; i < m; i++) to[i] = multiply(to[i], inverse);
      }
    }
  } else {
    switch (k) {
      case 1: return solve_right_columns<T, 1, Unit>(m, t, tp, tj, x, ldx);
      case 2: return solve_right_columns<T, 2, Unit>(m, t, tp, tj, x, ldx);
      case 3: return solve_right_columns<T, 3, Unit>(m, t, tp, tj, x, ldx);
      case 4: return solve_right_columns<T, 4, Unit>(m, t, tp, tj, x, ldx);
      case 5: return solve_right_columns<T, 5, Unit>(m, t, tp, tj, x, ldx);
      case 6: return solve_right_columns<T, 6, Unit>(m, t, tp, tj, x, ldx);
      case 7: return solve_right_columns<T, 7, Unit>(m, t, tp, tj, x, ldx);
      case 8: return solve_right_columns<T, 8, Unit>(m, t, tp, tj, x, ldx);
    }
  }
}

// One of tp and tj must be 1, as for the second factor of a product.
template <class T, bool Unit>
void solve_right(int m, int k, const T* t, int tp, int tj, T* x, int ldx) {
  if (m <= 0 || k <= 0) return;
  if (k <= kBlock) return solve_right_block<T, Unit>(m, k, t, tp, tj, x, ldx);
  const int half = (k / 2 + kBlock - 1) / kBlock * kBlock;
  T* rest = x + static_cast<ptrdiff_t>(half) * ldx;
  solve_right<T, Unit>(m, half, t, tp, tj, x, ldx);
  subtract_product<T>(m, k - half, half, x, ldx, t + static_cast<ptrdiff_t>(half) * tj, tp, tj, rest, ldx);
  solve_right<T, Unit>(m, k - half, t + static_cast<ptrdiff_t>(half) * (tp + tj), tp, tj, rest, ldx);
}

// X <- X T^-1 from the right with T lower triangular: element (p, j), p > j, at t[p * tp + j * tj].
template <class T, bool Unit>
void solve_right_lower(int m, int k, const T* t, int tp, int tj, T* x, int ldx) {
  if (k > kBlock) {
    const int half = (k / 2 + kBlock - 1) / kBlock * kBlock;
    T* rest = x + static_cast<ptrdiff_t>(half) * ldx;
    const T* below = t + static_cast<ptrdiff_t>(half) * tp;
    solve_right_lower<T, Unit>(m, k - half, below + static_cast<ptrdiff_t>(half) * tj, tp, tj, rest, ldx);
    subtract_product<T>(m, half, k - half, rest, ldx, below, tp, tj, x, ldx);
    return solve_right_lower<T, Unit>(m, half, t, tp, tj, x, ldx);
  }
  for (ptrdiff_t j = k - 1; j >= 0; j--) {
    T* from = x + j * ldx;
    if (!Unit) {
      const T inverse = t[j * (static_cast<ptrdiff_t>(tp) + tj)];
      for (int i = 0; i < m; i++) from[i] = multiply(from[i], inverse);
    }
    for (ptrdiff_t p = 0; p < j; p++) {
      const T factor = t[j * tp + p * tj];
      T* to = x + p * ldx;
      for (int i = 0; i < m; i++) to[i] -= multiply(from[i], factor);
    }
  }
}

// X <- L^-1 X for at most kBlock rows: a column of X is a vector, and so is what each pivot takes from it.
template <class T>
void solve_left_unit_block(int k, int n, const T* l, int ldl, T* x, int ldx) {
  T below[kBlock][kBlock] = {};
  for (int p = 0; p < k; p++) {
    for (int i = p + 1; i < k; i++) below[p][i] = l[i + static_cast<ptrdiff_t>(p) * ldl];
  }
  for (int j = 0; j < n; j++) {
    T* column = x + static_cast<ptrdiff_t>(j) * ldx;
    T v[kBlock] = {};
    std::copy(column, column + k, v);
    for (int p = 0; p < k; p++) {
      const T factor = v[p];
#pragma GCC unroll 8
      for (int i = 0; i < kBlock; i++) v[i] -= multiply(below[p][i], factor);
    }
    std::copy(v, v + k, column);
  }
}

// X <- L^-1 X, L unit lower k x k with leading dimension ldl, X k x n.
template <class T>
void solve_left_unit(int k, int n, const T* l, int ldl, T* x, int ldx) {
  if (k <= kBlock) return solve_left_unit_block<T>(k, n, l, ldl, x, ldx);
  const int half = (k / 2 + kBlock - 1) / kBlock * kBlock;
  solve_left_unit<T>(half, n, l, ldl, x, ldx);
  subtract_product<T>(k - half, n, half, l + half, ldl, x, 1, ldx, x + half, ldx);
  solve_left_unit<T>(k - half, n, l + half + static_cast<ptrdiff_t>(half) * ldl, ldl, x + half, ldx);
}

}  // namespace sparsesolve

#endif  // SPARSESOLVE_TRIANGULAR_H_
