// C <- C - A B for large real blocks: both factors are packed, tiles of three vectors by kColumns stay in registers.
//
// A, B and C lie as in `product.h`. An element of C is the sum over p in blocks of kDepth, each in order, whatever tile
// it is in: how a product is split over rows, columns and threads does not change a bit of the result.
// Method: K. Goto, R. A. van de Geijn, Anatomy of high-performance matrix multiplication, ACM Trans. Math. Softw. 34
// (2008) 12, doi:10.1145/1356052.1356053. The library brings its own because a BLAS starts threads of its own.

#ifndef SPARSESOLVE_GEMM_H_
#define SPARSESOLVE_GEMM_H_

#include <cstddef>
#include <memory>

#include "simd.h"

namespace sparsesolve {

template <class T>
struct GemmShape {
  static constexpr int vectors = 3;
  static constexpr int rows = vectors * Simd<T>::width;
  static constexpr int columns = SPARSESOLVE_VECTOR_BYTES == 64 ? 8 : 4;
  static constexpr int depth = 256;
  static constexpr int row_block = 256 * 240 / depth / rows * rows;  // packed A stays in the second cache
  static constexpr int column_block = 480;
};

// Panels of `rows` rows: element (i, p) of a panel at i + p * rows. Missing rows are zero.
template <class T>
void pack_left(int m, int k, const T* a, ptrdiff_t lda, T* __restrict to) {
  using S = Simd<T>;
  constexpr int rows = GemmShape<T>::rows;
  for (int first = 0; first < m; first += rows, to += static_cast<ptrdiff_t>(rows) * k) {
    const int count = std::min(rows, m - first);
    for (int p = 0; p < k; p++) {
      const T* from = a + first + p * lda;
      T* panel = to + static_cast<ptrdiff_t>(p) * rows;
      for (int i = 0; i < rows; i += S::width) {
        const int some = count - i;
        typename S::type x{};
        if (some >= S::width) {
          x = S::load(from + i);
        } else if (some > 0) {
          x = S::load_n(from + i, some);
        }
        S::store(panel + i, x);
      }
    }
  }
}

// Panels of `columns` columns: element (p, j) of a panel at p * columns + j. Missing columns are zero.
template <class T>
void pack_right(int n, int k, const T* b, ptrdiff_t bp, ptrdiff_t bj, T* __restrict to) {
  constexpr int columns = GemmShape<T>::columns;
  for (int first = 0; first < n; first += columns, to += static_cast<ptrdiff_t>(columns) * k) {
    const int count = std::min(columns, n - first);
    const T* from = b + first * bj;
    for (int p = 0; p < k; p++) {
      for (int j = 0; j < columns; j++) to[p * columns + j] = j < count ? from[p * bp + j * bj] : T(0);
    }
  }
}

template <class T>
inline void gemm_tile(int k, const T* __restrict left, const T* __restrict right, T* __restrict c, ptrdiff_t ldc, int m,
                      int n, bool fresh) {
  using S = Simd<T>;
  using Shape = GemmShape<T>;
  typename S::type sums[Shape::columns][Shape::vectors];
#pragma GCC unroll 8
  for (int j = 0; j < Shape::columns; j++) {
#pragma GCC unroll 3
    for (int v = 0; v < Shape::vectors; v++) sums[j][v] = typename S::type{};
  }
  for (int p = 0; p < k; p++) {
    typename S::type x[Shape::vectors];
#pragma GCC unroll 3
    for (int v = 0; v < Shape::vectors; v++) x[v] = S::load(left + v * S::width);
#pragma GCC unroll 8
    for (int j = 0; j < Shape::columns; j++) {
      const T y = right[j];
#pragma GCC unroll 3
      for (int v = 0; v < Shape::vectors; v++) sums[j][v] += x[v] * y;
    }
    left += Shape::rows;
    right += Shape::columns;
  }
#pragma GCC unroll 8
  for (int j = 0; j < Shape::columns; j++) {
    if (j >= n) break;
#pragma GCC unroll 3
    for (int v = 0; v < Shape::vectors; v++) {
      T* to = c + j * ldc + v * S::width;
      const int some = m - v * S::width;
      if (some >= S::width) {
        S::store(to, fresh ? -sums[j][v] : S::load(to) - sums[j][v]);
      } else if (some > 0) {
        S::store_n(to, fresh ? -sums[j][v] : S::load_n(to, some) - sums[j][v], some);
      }
    }
  }
}

// One block of at most row_block rows and column_block columns. Working space is the thread's own.
template <class T>
void gemm_block(int m, int n, int k, const T* a, ptrdiff_t lda, const T* b, ptrdiff_t bp, ptrdiff_t bj, T* c,
                ptrdiff_t ldc, bool fresh) {
  using Shape = GemmShape<T>;
  constexpr int kLeft = Shape::row_block * Shape::depth;
  constexpr int kRight = (Shape::column_block + Shape::columns) * Shape::depth;
  static thread_local const std::unique_ptr<T[]> space(new T[kLeft + kRight]);
  T *left = space.get(), *right = left + kLeft;
  for (int p = 0; p < k; p += Shape::depth) {
    const int some = std::min(Shape::depth, k - p);
    pack_left<T>(m, some, a + p * lda, lda, left);
    pack_right<T>(n, some, b + p * bp, bp, bj, right);
    for (int j = 0; j < n; j += Shape::columns) {
      for (int i = 0; i < m; i += Shape::rows) {
        gemm_tile<T>(some, left + static_cast<ptrdiff_t>(i) * some, right + static_cast<ptrdiff_t>(j) * some,
                     c + i + j * ldc, ldc, m - i, n - j, fresh && p == 0);
      }
    }
  }
}

}  // namespace sparsesolve

#endif  // SPARSESOLVE_GEMM_H_
