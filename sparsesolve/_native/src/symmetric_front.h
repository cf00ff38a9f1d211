// What fronts of symmetric and Hermitian matrices share: layout, and products of which only the lower triangle is made.
//
//        [ D  .  ]   k pivots      D k x k and C m x m, column-major; of both only the lower triangles count
//        [ L  C  ]   m border rows
//
// In the factors D is packed by panels of kBlock columns: rows from the panel's first on, one panel after the other, each
// column-major with (k - first) rows. Then follows L, m x k. A front of at most kBlock pivots is one panel, so that it is
// eliminated where it stays; a larger D is eliminated in working space and packed.

#ifndef SPARSESOLVE_SYMMETRIC_FRONT_H_
#define SPARSESOLVE_SYMMETRIC_FRONT_H_

#include "triangular.h"

namespace sparsesolve {

// Entries of the packed D.
inline int64_t panels_size(int64_t k) {
  const int64_t full = k / kBlock, rest = k % kBlock;
  return kBlock * (full * k - kBlock * (full * (full - 1) / 2)) + rest * rest;
}

inline int64_t symmetric_factor_size(int64_t k, int64_t m) { return panels_size(k) + k * m; }

template <class T>
void pack_panels(int k, const T* d, T* panels) {
  for (int first = 0; first < k; first += kBlock) {
    const int rows = k - first, columns = std::min(kBlock, rows);
    for (int j = 0; j < columns; j++) {
      const T* from = d + first + static_cast<ptrdiff_t>(first + j) * k;
      panels = std::copy(from, from + rows, panels);
    }
  }
}

template <bool Conjugate, class T>
inline T conjugate_if(T x) {
  if constexpr (Conjugate && ScalarTraits<T>::is_complex) {
    return std::conj(x);
  } else {
    return x;
  }
}

constexpr int kLowerBlock = 32;  // up to this size a triangle is made of columns of tiles, beyond it of halves

// The lower triangle of C <- C - A B, operands as in `product.h`. Blocks on the diagonal are made whole.
template <class T>
void subtract_lower(int m, int k, const T* a, int lda, const T* b, int bp, int bj, T* c, int ldc, bool fresh = false) {
  if (m > kLowerBlock) {
    const int half = (m / 2 + kBlock - 1) / kBlock * kBlock;
    const T* right = b + static_cast<ptrdiff_t>(half) * bj;
    subtract_lower<T>(half, k, a, lda, b, bp, bj, c, ldc, fresh);
    subtract_product<T>(m - half, half, k, a + half, lda, b, bp, bj, c + half, ldc, fresh);
    return subtract_lower<T>(m - half, k, a + half, lda, right, bp, bj, c + half + static_cast<ptrdiff_t>(half) * ldc,
                             ldc, fresh);
  }
  for (ptrdiff_t j = 0; j < m; j += kBlock) {
    const int columns = static_cast<int>(std::min<ptrdiff_t>(kBlock, m - j));
    subtract_product<T>(static_cast<int>(m - j), columns, k, a + j, lda, b + j * bj, bp, bj, c + j + j * ldc, ldc, fresh);
  }
}

// The same by several threads, in strips of columns whatever their number.
template <class T>
void subtract_lower(Team& team, int m, int k, const T* a, int lda, const T* b, int bp, int bj, T* c, int ldc,
                    bool fresh = false) {
  if (m < 2 * kStrip) return subtract_lower<T>(m, k, a, lda, b, bp, bj, c, ldc, fresh);
  team.loop((m + kStrip - 1) / kStrip, [&](int64_t strip, int) {
    const int first = static_cast<int>(strip) * kStrip, width = std::min(kStrip, m - first), rest = m - first - width;
    const T *left = a + first, *right = b + static_cast<ptrdiff_t>(first) * bj;
    T* corner = c + first + static_cast<ptrdiff_t>(first) * ldc;
    subtract_lower<T>(width, k, left, lda, right, bp, bj, corner, ldc, fresh);
    subtract_product<T>(rest, width, k, left + width, lda, right, bp, bj, corner + width, ldc, fresh);
  });
}

// The upper triangle of D: conj(lower)^T, for products that cannot conjugate.
template <class T>
void mirror(int first, int stop, T* d, ptrdiff_t ldd, int rows) {
  for (ptrdiff_t j = first; j < stop; j++) {
    for (ptrdiff_t i = j + 1; i < rows; i++) d[j + i * ldd] = conjugate_if<true>(d[i + j * ldd]);
  }
}

}  // namespace sparsesolve

#endif  // SPARSESOLVE_SYMMETRIC_FRONT_H_
