// Partial LU of one front, by blocks in place.
//
//        [ D  U ]   k pivot rows         P D = L11 U11,   L = L U11^-1,   U^T = (L11^-1 P U)^T
//        [ L  C ]   m border rows        C <- C - L U
//
// Buffers, all column-major: D k x k; L m x k; Ut = U^T m x k; C m x m. Because U is kept transposed, both borders are
// solved from the right, m long and contiguous, however few pivots there are. Rows are exchanged inside the pivot block
// only (the structure of the factors does not depend on the values), so rows of L never move. A pivot smaller than
// `tiny` is replaced by `tiny`. The diagonal of U11 is stored inverted.
// Reference: I. S. Duff, J. K. Reid, ACM Trans. Math. Softw. 9 (1983) 302-325, doi:10.1145/356044.356047.
// Cost: 2/3 k^3 + 2 k^2 m + 2 k m^2.

#ifndef SPARSESOLVE_FRONT_H_
#define SPARSESOLVE_FRONT_H_

#include "triangular.h"

namespace sparsesolve {

// Entries of D, L and Ut.
inline int64_t lu_factor_size(int64_t k, int64_t m) { return k * k + 2 * k * m; }

template <class T>
void exchange_rows(T* d, int k, int a, int b) {
  for (ptrdiff_t c = 0; c < k; c++) std::swap(d[a + c * k], d[b + c * k]);
}

// Columns first..stop of the pivot block, one at a time.
template <class T>
void eliminate_columns(T* d, int k, int first, int stop, int32_t* pivots, RealOf<T> tiny) {
  for (int j = first; j < stop; j++) {
    T* __restrict column = d + static_cast<ptrdiff_t>(j) * k;
    int at = j;
    RealOf<T> largest = magnitude(column[j]);
    for (int i = j + 1; i < k; i++) {
      const RealOf<T> size = magnitude(column[i]);
      if (size > largest) {
        largest = size;
        at = i;
      }
    }
    pivots[j] = at;
    if (at != j) exchange_rows(d, k, j, at);
    const T inverse = T(1) / away_from_zero(column[j], tiny);
    column[j] = inverse;
    for (int i = j + 1; i < k; i++) column[i] = multiply(column[i], inverse);
    for (int c = j + 1; c < stop; c++) {
      T* __restrict to = d + static_cast<ptrdiff_t>(c) * k;
      const T factor = to[j];
      for (int i = j + 1; i < k; i++) to[i] -= multiply(column[i], factor);
    }
  }
}

template <class T>
void eliminate(Team& team, T* d, int k, int first, int stop, int32_t* pivots, RealOf<T> tiny) {
  if (stop - first <= kBlock) return eliminate_columns<T>(d, k, first, stop, pivots, tiny);
  const int half = first + ((stop - first) / 2 + kBlock - 1) / kBlock * kBlock;
  eliminate<T>(team, d, k, first, half, pivots, tiny);
  T* left = d + first + static_cast<ptrdiff_t>(first) * k;
  T* right = d + first + static_cast<ptrdiff_t>(half) * k;
  const int done = half - first, rest = stop - half;
  for_strips(team, rest, [&](int begin, int count) {
    solve_left_unit<T>(done, count, left, k, right + static_cast<ptrdiff_t>(begin) * k, k);
  });
  subtract_product<T>(team, k - half, rest, done, left + done, k, right, 1, k, right + done, k);
  eliminate<T>(team, d, k, half, stop, pivots, tiny);
}

// `fresh`: C holds nothing yet and is written, not read.
template <class T>
void factor_front(Team& team, int k, int m, T* d, T* l, T* ut, T* c, int32_t* pivots, RealOf<T> tiny, bool fresh) {
  eliminate<T>(team, d, k, 0, k, pivots, tiny);
  if (m == 0) return;
  for (int j = 0; j < k; j++) {
    if (pivots[j] != j) {
      T* a = ut + static_cast<ptrdiff_t>(j) * m;
      std::swap_ranges(a, a + m, ut + static_cast<ptrdiff_t>(pivots[j]) * m);
    }
  }
  for_strips(team, m, [&](int begin, int count) { solve_right<T, false>(count, k, d, 1, k, l + begin, m); });
  for_strips(team, m, [&](int begin, int count) { solve_right<T, true>(count, k, d, k, 1, ut + begin, m); });
  subtract_product<T>(team, m, m, k, l, m, ut, m, 1, c, m, fresh);
}

}  // namespace sparsesolve

#endif  // SPARSESOLVE_FRONT_H_
