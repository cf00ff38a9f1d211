// Partial Cholesky factorization of one front, by blocks in place: D = L11 L11^H, L = L21 = A21 L11^-H, C <- C - L L^H.
//
// The diagonal of L11 is stored inverted. The values are scaled to a diagonal of about one, so a pivot is compared with
// rounding errors directly: one within `noise` of zero is replaced by `tiny`, as for a semidefinite matrix; one below
// changes its sign and is counted, the matrix is not positive definite then. Either way the factors stay finite.
// Cost: 1/3 k^3 + k^2 m + k m^2, half of the LU (`front.h`). Layout: `symmetric_front.h`.

#ifndef SPARSESOLVE_CHOLESKY_FRONT_H_
#define SPARSESOLVE_CHOLESKY_FRONT_H_

#include "symmetric_front.h"

namespace sparsesolve {

// Thresholds of pivots, and what was found.
template <class T>
struct PivotCheck {
  RealOf<T> noise, tiny;
  int32_t negative = 0, perturbed = 0;

  RealOf<T> positive(RealOf<T> pivot) {
    if (pivot > noise) return pivot;
    if (pivot >= -noise) {
      perturbed++;
      return tiny;
    }
    negative++;
    return pivot < 0 ? -pivot : RealOf<T>(1);  // NaN
  }
};

template <class T>
void cholesky_columns(int k, T* d, ptrdiff_t ldd, PivotCheck<T>& check) {
  for (int j = 0; j < k; j++) {
    T* __restrict column = d + j * ldd;
    const RealOf<T> inverse = RealOf<T>(1) / std::sqrt(check.positive(std::real(column[j])));
    column[j] = inverse;
    for (int i = j + 1; i < k; i++) column[i] *= inverse;
    for (int c = j + 1; c < k; c++) {
      T* __restrict to = d + c * ldd;
      const T factor = conjugate_if<true>(column[c]);
      for (int i = c; i < k; i++) to[i] -= multiply(column[i], factor);
    }
  }
  if constexpr (ScalarTraits<T>::is_complex) mirror<T>(0, k, d, ldd, k);
}

// X <- X L11^-H for the factorized block `d`: real numbers read its lower triangle, complex ones the mirrored upper one.
template <class T>
void solve_right_cholesky(Team& team, int m, int k, const T* d, int ldd, T* x, int ldx) {
  constexpr bool mirrored = ScalarTraits<T>::is_complex;
  for_strips(team, m, [&](int begin, int count) {
    solve_right<T, false>(count, k, d, mirrored ? 1 : ldd, mirrored ? ldd : 1, x + begin, ldx);
  });
}

template <class T>
void cholesky(Team& team, int k, T* d, int ldd, PivotCheck<T>& check) {
  if (k <= kBlock) return cholesky_columns<T>(k, d, ldd, check);
  const int half = (k / 2 + kBlock - 1) / kBlock * kBlock;
  T *below = d + half, *rest = below + static_cast<ptrdiff_t>(half) * ldd;
  cholesky<T>(team, half, d, ldd, check);
  solve_right_cholesky<T>(team, k - half, half, d, ldd, below, ldd);
  if constexpr (ScalarTraits<T>::is_complex) {
    mirror<T>(0, half, d, ldd, k);
    subtract_lower<T>(team, k - half, half, below, ldd, d + static_cast<ptrdiff_t>(half) * ldd, 1, ldd, rest, ldd);
  } else {
    subtract_lower<T>(team, k - half, half, below, ldd, below, ldd, 1, rest, ldd);
  }
  cholesky<T>(team, k - half, rest, ldd, check);
}

// `fresh`: C holds nothing yet and is written, not read. `work`: m * k entries for complex numbers.
template <class T>
void cholesky_front(Team& team, int k, int m, T* d, T* l, T* c, T* work, PivotCheck<T>& check, bool fresh) {
  cholesky<T>(team, k, d, k, check);
  if (m == 0) return;
  solve_right_cholesky<T>(team, m, k, d, k, l, m);
  const T* right = l;
  if constexpr (ScalarTraits<T>::is_complex) {
    const int64_t count = static_cast<int64_t>(m) * k;
    for (int64_t i = 0; i < count; i++) work[i] = std::conj(l[i]);
    right = work;
  }
  subtract_lower<T>(team, m, k, l, m, right, m, 1, c, m, fresh);
}

}  // namespace sparsesolve

#endif  // SPARSESOLVE_CHOLESKY_FRONT_H_
