// Solves with the blocks of one front for one right-hand side. D holds L11 and U11 (diagonal inverted), see front.h.
//
// Eight unknowns at a time stay in registers; how many are left over is decided once, by a jump, because a mispredicted
// branch costs as much as a small front.

#ifndef SPARSESOLVE_SOLVE_ONE_H_
#define SPARSESOLVE_SOLVE_ONE_H_

#include "front.h"
#include "matvec.h"

namespace sparsesolve {

// L is unit lower, unless `Inverted`: then its diagonal is stored inverted, as that of U always is.
enum class Triangle {
  kLower,
  kUpper,
  kUpperTransposed,
  kLowerTransposed,
  kLowerInverted,
  kLowerInvertedTransposed
};

constexpr bool is_ascending(Triangle kind) {
  return kind == Triangle::kLower || kind == Triangle::kUpperTransposed || kind == Triangle::kLowerInverted;
}

// y <- T^-1 y for the diagonal block at `d` with leading dimension `ldd`.
template <class T, Triangle kind, int K>
inline void solve_diagonal_block(const T* __restrict d, ptrdiff_t ldd, T* __restrict y) {
  T v[K];
#pragma GCC unroll 8
  for (int i = 0; i < K; i++) v[i] = y[i];
#pragma GCC unroll 8
  for (int step = 0; step < K; step++) {
    constexpr bool ascending = is_ascending(kind);
    const int j = ascending ? step : K - 1 - step;
    constexpr bool unit = kind == Triangle::kLower || kind == Triangle::kLowerTransposed;
    if (!unit) v[j] = multiply(v[j], d[j + j * ldd]);
#pragma GCC unroll 8
    for (int i = ascending ? j + 1 : 0; i < (ascending ? K : j); i++) {
      constexpr bool by_columns =
          kind == Triangle::kLower || kind == Triangle::kUpper || kind == Triangle::kLowerInverted;
      v[i] -= multiply(by_columns ? d[i + j * ldd] : d[j + i * ldd], v[j]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < K; i++) y[i] = v[i];
}

template <class T, Triangle kind>
inline void solve_diagonal(int count, const T* d, ptrdiff_t ldd, T* y) {
  switch (count) {
    case 1: return solve_diagonal_block<T, kind, 1>(d, ldd, y);
    case 2: return solve_diagonal_block<T, kind, 2>(d, ldd, y);
    case 3: return solve_diagonal_block<T, kind, 3>(d, ldd, y);
    case 4: return solve_diagonal_block<T, kind, 4>(d, ldd, y);
    case 5: return solve_diagonal_block<T, kind, 5>(d, ldd, y);
    case 6: return solve_diagonal_block<T, kind, 6>(d, ldd, y);
    case 7: return solve_diagonal_block<T, kind, 7>(d, ldd, y);
    case 8: return solve_diagonal_block<T, kind, 8>(d, ldd, y);
  }
}

// y <- L11^-1 y, U11^-1 y, U11^-T y or L11^-T y. The block has leading dimension `ldd`.
template <class T, Triangle kind>
void solve_triangle(int k, const T* d, ptrdiff_t ldd, T* y) {
  constexpr bool ascending = is_ascending(kind);
  const ptrdiff_t last = (k - 1) / kBlock * kBlock;
  for (ptrdiff_t step = 0; step <= last; step += kBlock) {
    const ptrdiff_t first = ascending ? step : last - step;
    const int count = static_cast<int>(std::min<ptrdiff_t>(kBlock, k - first));
    const ptrdiff_t stop = first + count;
    const T* columns = d + first * ldd;
    if (kind == Triangle::kUpperTransposed && first > 0) {
      subtract_dots<T>(first, count, columns, y, y + first, ldd);
    } else if (kind == Triangle::kLowerTransposed && stop < k) {
      subtract_dots<T>(k - stop, count, columns + stop, y + stop, y + first, ldd);
    }
    solve_diagonal<T, kind>(count, columns + first, ldd, y + first);
    if (kind == Triangle::kLower && stop < k) {
      subtract_columns<T, false>(k - stop, count, columns + stop, y + first, y + stop, ldd);
    } else if (kind == Triangle::kUpper && first > 0) {
      subtract_columns<T, false>(first, count, columns, y + first, y, ldd);
    }
  }
}

// The same with all threads: the blocks of kPanel unknowns beside the diagonal are shared out.
template <class T, Triangle kind>
void solve_triangle(Team& team, int k, const T* d, T* y) {
  constexpr int kPanel = 128;
  if (k <= 2 * kPanel) return solve_triangle<T, kind>(k, d, k, y);
  constexpr bool ascending = is_ascending(kind);
  const int last = (k - 1) / kPanel * kPanel;
  for (int step = 0; step <= last; step += kPanel) {
    const int first = ascending ? step : last - step, count = std::min(kPanel, k - first), stop = first + count;
    const T* columns = d + static_cast<ptrdiff_t>(first) * k;
    if (kind == Triangle::kUpperTransposed) subtract_dots<T>(team, first, count, columns, y, y + first, k);
    if (kind == Triangle::kLowerTransposed) {
      subtract_dots<T>(team, k - stop, count, columns + stop, y + stop, y + first, k);
    }
    solve_triangle<T, kind>(count, columns + first, k, y + first);
    if (kind == Triangle::kLower) subtract_columns<T>(team, k - stop, count, columns + stop, y + first, y + stop, k);
    if (kind == Triangle::kUpper) subtract_columns<T>(team, first, count, columns, y + first, y, k);
  }
}

}  // namespace sparsesolve

#endif  // SPARSESOLVE_SOLVE_ONE_H_
