// C <- C - A B for small column-major blocks in place, the work horse of the factorization.
//
//   A: m x k, element (i, p) at a[i + p * lda]
//   B: k x n, element (p, j) at b[p * bp + j * bj]      (bp = 1: as it lies; bj = 1: transposed)
//   C: m x n, element (i, j) at c[i + j * ldc]; with `fresh` C is written, not read: C <- - A B
//
// Tiles of two vectors by kTile columns stay in registers while p runs; nothing is packed, because blocks of fronts are
// small and lie in the first two caches. Large products are packed (`gemm.h`), complex ones go to the BLAS.
// Method: R. A. van de Geijn, E. S. Quintana-Orti, The Science of Programming Matrix Computations, 2008.

#ifndef SPARSESOLVE_PRODUCT_H_
#define SPARSESOLVE_PRODUCT_H_

#include <cstddef>
#include <cstdint>

#include "blas.h"
#include "gemm.h"
#include "parallel.h"
#include "scalar.h"
#include "simd.h"

namespace sparsesolve {

// Columns of a tile: two vectors times this many accumulators fit the register file.
constexpr int kTile = SPARSESOLVE_VECTOR_BYTES == 64 ? 8 : 4;

template <class T, int Vectors, int Columns, bool Partial, bool Fresh>
inline void product_tile(int k, const T* __restrict a, ptrdiff_t lda, const T* __restrict b, ptrdiff_t bp, ptrdiff_t bj,
                         T* __restrict c, ptrdiff_t ldc, int last) {
  using S = Simd<T>;
  using V = typename S::type;
  V sums[Columns][Vectors];
#pragma GCC unroll 8
  for (int j = 0; j < Columns; j++) {
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; v++) sums[j][v] = V{};
  }
  for (int p = 0; p < k; p++) {
    V left[Vectors];
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; v++) {
      left[v] = Partial && v == Vectors - 1 ? S::load_n(a + v * S::width, last) : S::load(a + v * S::width);
    }
#pragma GCC unroll 8
    for (int j = 0; j < Columns; j++) {
      const T right = b[j * bj];
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; v++) sums[j][v] += left[v] * right;
    }
    a += lda;
    b += bp;
  }
#pragma GCC unroll 8
  for (int j = 0; j < Columns; j++) {
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; v++) {
      T* to = c + v * S::width;
      if (Partial && v == Vectors - 1) {
        S::store_n(to, Fresh ? -sums[j][v] : S::load_n(to, last) - sums[j][v], last);
      } else {
        S::store(to, Fresh ? -sums[j][v] : S::load(to) - sums[j][v]);
      }
    }
    c += ldc;
  }
}

template <class T, int Columns, bool Fresh>
inline void product_columns(int m, int k, const T* a, ptrdiff_t lda, const T* b, ptrdiff_t bp, ptrdiff_t bj, T* c,
                            ptrdiff_t ldc) {
  constexpr int w = Simd<T>::width;
  int i = 0;
  for (; i + 2 * w <= m; i += 2 * w) {
    product_tile<T, 2, Columns, false, Fresh>(k, a + i, lda, b, bp, bj, c + i, ldc, w);
  }
  const int rest = m - i;
  if (rest > w) {
    product_tile<T, 2, Columns, true, Fresh>(k, a + i, lda, b, bp, bj, c + i, ldc, rest - w);
  } else if (rest > 0) {
    product_tile<T, 1, Columns, true, Fresh>(k, a + i, lda, b, bp, bj, c + i, ldc, rest);
  }
}

template <class T, bool Fresh>
void product_small(int m, int n, int k, const T* a, ptrdiff_t lda, const T* b, ptrdiff_t bp, ptrdiff_t bj, T* c,
                   ptrdiff_t ldc) {
  if constexpr (ScalarTraits<T>::is_complex) {
    for (int j = 0; j < n; j++) {
      T* __restrict to = c + j * ldc;
      if (Fresh) std::fill(to, to + m, T(0));
      for (int p = 0; p < k; p++) {
        const T right = b[p * bp + j * bj];
        const T* __restrict left = a + p * lda;
        for (int i = 0; i < m; i++) to[i] -= multiply(left[i], right);
      }
    }
  } else {
    int j = 0;
    for (; j + kTile <= n; j += kTile) {
      product_columns<T, kTile, Fresh>(m, k, a, lda, b + j * bj, bp, bj, c + j * ldc, ldc);
    }
    if (kTile > 4 && n - j >= 4) {
      product_columns<T, 4, Fresh>(m, k, a, lda, b + j * bj, bp, bj, c + j * ldc, ldc);
      j += 4;
    }
    if (n - j >= 2) {
      product_columns<T, 2, Fresh>(m, k, a, lda, b + j * bj, bp, bj, c + j * ldc, ldc);
      j += 2;
    }
    if (n > j) product_columns<T, 1, Fresh>(m, k, a, lda, b + j * bj, bp, bj, c + j * ldc, ldc);
  }
}

// Multiply-adds from which packing the operands pays (measured, one core with AVX-512).
template <class T>
constexpr int64_t kPackWork = ScalarTraits<T>::is_complex ? 1 << 12 : 1 << 15;

// Columns [first, last) of a product that is worth packing.
template <class T>
void product_large(int m, int first, int last, int k, const T* a, int lda, const T* b, int bp, int bj, T* c, int ldc,
                   bool fresh) {
  b += static_cast<ptrdiff_t>(first) * bj;
  c += static_cast<ptrdiff_t>(first) * ldc;
  if constexpr (ScalarTraits<T>::is_complex) {
    const T minus(-1), beta(fresh ? 0 : 1);
    const int n = last - first, ldb = bp == 1 ? bj : bp;
    blas_gemm<T>()("N", bp == 1 ? "N" : "T", &m, &n, &k, &minus, a, &lda, b, &ldb, &beta, c, &ldc);
  } else {
    constexpr int rows = GemmShape<T>::row_block, columns = GemmShape<T>::column_block;
    for (int j = 0; j < last - first; j += columns) {
      for (int i = 0; i < m; i += rows) {
        gemm_block<T>(std::min(rows, m - i), std::min(columns, last - first - j), k, a + i, lda,
                      b + static_cast<ptrdiff_t>(j) * bj, bp, bj, c + i + static_cast<ptrdiff_t>(j) * ldc, ldc, fresh);
      }
    }
  }
}

template <class T>
inline bool is_large(int m, int n, int k) {
  if (ScalarTraits<T>::is_complex && blas_gemm<T>() == nullptr) return false;
  return k >= 8 && n >= 4 && static_cast<int64_t>(m) * n * k >= kPackWork<T>;
}

template <class T>
void subtract_product(int m, int n, int k, const T* a, int lda, const T* b, int bp, int bj, T* c, int ldc,
                      bool fresh = false) {
  if (m <= 0 || n <= 0) return;
  if (is_large<T>(m, n, k)) {
    product_large<T>(m, 0, n, k, a, lda, b, bp, bj, c, ldc, fresh);
  } else if (fresh) {
    product_small<T, true>(m, n, k, a, lda, b, bp, bj, c, ldc);
  } else {
    product_small<T, false>(m, n, k, a, lda, b, bp, bj, c, ldc);
  }
}

constexpr int kStrip = 96;  // columns of a product that one thread takes at a time

template <class T>
void subtract_product(Team& team, int m, int n, int k, const T* a, int lda, const T* b, int bp, int bj, T* c, int ldc,
                      bool fresh = false) {
  if (n < 2 * kStrip || !is_large<T>(m, kStrip, k)) {
    return subtract_product<T>(m, n, k, a, lda, b, bp, bj, c, ldc, fresh);
  }
  const int strip = team.size() == 1 && !ScalarTraits<T>::is_complex ? n : kStrip;
  team.loop((n + strip - 1) / strip, [&](int64_t j, int) {
    const int first = static_cast<int>(j) * strip;
    product_large<T>(m, first, std::min(n, first + strip), k, a, lda, b, bp, bj, c, ldc, fresh);
  });
}

}  // namespace sparsesolve

#endif  // SPARSESOLVE_PRODUCT_H_
