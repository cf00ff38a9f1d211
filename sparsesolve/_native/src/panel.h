// Solves with one front for one right-hand side, by panels of at most eight pivots. Real types.
//
//   y (k) the pivots' part, rows (m) the border's:
//   up:    y <- L11^-1 y,  rows <- rows - L y        (A^T: with U11^T and U^T)
//   down:  y <- U11^-1 (y - U rows)                  (A^T: with L11^T and L^T)
//
// A solve reads each factor once, and most fronts are small: what costs is not arithmetic but branches that cannot be
// foreseen. So there is one jump a panel, to code for its number of pivots, and one loop of masked vectors for each
// block, the rest of the pivots and the border. D holds L11 and U11 with its diagonal inverted (`front.h`).

#ifndef SPARSESOLVE_PANEL_H_
#define SPARSESOLVE_PANEL_H_

#include "solve_one.h"

namespace sparsesolve {

// y[0..m) -= A v for K columns.
template <class T, int K>
inline void panel_columns(int m, const T* __restrict a, ptrdiff_t lda, const T* v, T* __restrict y) {
  using S = Simd<T>;
  for (int i = 0; i < m; i += S::width) {
    const int count = std::min(S::width, m - i);
    typename S::type sum = S::load_n(y + i, count);
#pragma GCC unroll 8
    for (int p = 0; p < K; p++) sum -= S::load_n(a + i + p * lda, count) * v[p];
    S::store_n(y + i, sum, count);
  }
}

template <class T, int K>
inline void panel_dots(int m, const T* __restrict a, ptrdiff_t lda, const T* __restrict x,
                       typename Simd<T>::type (&sums)[8]) {
  using S = Simd<T>;
  for (int i = 0; i < m; i += S::width) {
    const int count = std::min(S::width, m - i);
    const typename S::type xi = S::load_n(x + i, count);
#pragma GCC unroll 8
    for (int p = 0; p < K; p++) sums[p] += S::load_n(a + i + p * lda, count) * xi;
  }
}

template <class T, Triangle kind, int K>
inline void panel(int k, int first, const T* __restrict d, int m, const T* __restrict beside, T* __restrict y,
                  T* __restrict rows) {
  using S = Simd<T>;
  constexpr bool up = kind == Triangle::kLower || kind == Triangle::kUpperTransposed;
  constexpr bool dots_in_d = kind == Triangle::kUpperTransposed || kind == Triangle::kLowerTransposed;
  constexpr bool above = kind == Triangle::kUpperTransposed || kind == Triangle::kUpper;
  const T* columns = d + static_cast<ptrdiff_t>(first) * k;
  const T* border = beside + static_cast<ptrdiff_t>(first) * m;
  const int from = above ? 0 : first + K, count = above ? first : k - first - K;
  T* here = y + first;
  if constexpr (dots_in_d || !up) {
    typename S::type sums[8] = {};
    if constexpr (dots_in_d) panel_dots<T, K>(count, columns + from, k, y + from, sums);
    if constexpr (!up) panel_dots<T, K>(m, border, m, rows, sums);
    S::template subtract_sums<K>(sums, here);
  }
  solve_diagonal_block<T, kind, K>(columns + first, k, here);
  if constexpr (!dots_in_d) panel_columns<T, K>(count, columns + from, k, here, y + from);
  if constexpr (up) panel_columns<T, K>(m, border, m, here, rows);
}

template <class T, Triangle kind>
inline void solve_panels(int k, int m, const T* d, const T* beside, T* y, T* rows) {
  constexpr bool ascending = kind == Triangle::kLower || kind == Triangle::kUpperTransposed;
  const int last = (k - 1) / kBlock * kBlock;
  for (int step = 0; step <= last; step += kBlock) {
    const int first = ascending ? step : last - step;
    switch (k - first) {
      case 1: panel<T, kind, 1>(k, first, d, m, beside, y, rows); break;
      case 2: panel<T, kind, 2>(k, first, d, m, beside, y, rows); break;
      case 3: panel<T, kind, 3>(k, first, d, m, beside, y, rows); break;
      case 4: panel<T, kind, 4>(k, first, d, m, beside, y, rows); break;
      case 5: panel<T, kind, 5>(k, first, d, m, beside, y, rows); break;
      case 6: panel<T, kind, 6>(k, first, d, m, beside, y, rows); break;
      case 7: panel<T, kind, 7>(k, first, d, m, beside, y, rows); break;
      default: panel<T, kind, 8>(k, first, d, m, beside, y, rows);
    }
  }
}

// All of a front. Large ones go block by block, by all threads.
template <class T, Triangle kind>
void solve_front(Team& team, int k, int m, const T* d, const T* beside, T* y, T* rows) {
  constexpr bool up = kind == Triangle::kLower || kind == Triangle::kUpperTransposed;
  if constexpr (!ScalarTraits<T>::is_complex) {
    if (static_cast<int64_t>(k) * (k + m) < kSharedEntries) return solve_panels<T, kind>(k, m, d, beside, y, rows);
  }
  if constexpr (!up) subtract_dots<T>(team, m, k, beside, rows, y, m);
  solve_triangle<T, kind>(team, k, d, y);
  if constexpr (up) subtract_columns<T>(team, m, k, beside, y, rows, m);
}

}  // namespace sparsesolve

#endif  // SPARSESOLVE_PANEL_H_
