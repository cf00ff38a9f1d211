// Equilibration in one sweep, as `direct/_scaling.py` does it: rows by their largest entry, then columns, by powers of
// two, so that scaling does not round. Entries that are not finite do not count. Cost: three passes over the values.

#ifndef SPARSESOLVE_SCALING_H_
#define SPARSESOLVE_SCALING_H_

#include <cstdint>

#include "scalar.h"

namespace sparsesolve {

// 2^-e for x = f 2^e with f in [1/2, 1); the scale of a product of two lines stays finite.
template <class R>
inline R scale_of(R largest) {
  if (!(largest > 0)) return R(1);
  int exponent;
  std::frexp(largest, &exponent);
  const int limit = -(std::numeric_limits<R>::min_exponent - 1) / 2;
  return std::ldexp(R(1), std::clamp(-exponent, -limit, limit));
}

// Zero for infinite values and NaN.
template <class T>
inline RealOf<T> finite_magnitude(T x) {
  const RealOf<T> size = magnitude(x);
  return size <= std::numeric_limits<RealOf<T>>::max() ? size : RealOf<T>(0);
}

// Scaled values in CSR order, and the scales. Returns the largest scaled entry. The caller has checked the indices.
template <class T>
RealOf<T> equilibrate(int64_t n, const int32_t* indptr, const int32_t* columns, const T* data, T* scaled,
                      RealOf<T>* row_scale, RealOf<T>* col_scale) {
  using R = RealOf<T>;
  std::fill(col_scale, col_scale + n, R(0));
  for (int64_t i = 0; i < n; i++) {
    R largest = 0;
    for (int32_t e = indptr[i]; e < indptr[i + 1]; e++) largest = std::max(largest, finite_magnitude(data[e]));
    const R scale = row_scale[i] = scale_of(largest);
    for (int32_t e = indptr[i]; e < indptr[i + 1]; e++) {
      R& column = col_scale[columns[e]];
      column = std::max(column, finite_magnitude(data[e]) * scale);
    }
  }
  for (int64_t j = 0; j < n; j++) col_scale[j] = scale_of(col_scale[j]);
  R largest = 0;
  for (int64_t i = 0; i < n; i++) {
    for (int32_t e = indptr[i]; e < indptr[i + 1]; e++) {
      scaled[e] = data[e] * (row_scale[i] * col_scale[columns[e]]);
      largest = std::max(largest, finite_magnitude(scaled[e]));
    }
  }
  return largest;
}

// 2^-e for x = f 4^e with f in [1/4, 1): what scales row and column of a diagonal entry x to about one.
template <class R>
inline R root_scale_of(R largest) {
  if (!(largest > 0)) return R(1);
  int exponent;
  std::frexp(largest, &exponent);
  return std::ldexp(R(1), -(exponent >> 1));
}

// The same for symmetric matrices, S A S: by the diagonal, which bounds the rest of a definite matrix, or in a few sweeps
// by the largest entry of each row (D. Ruiz, RAL-TR-2001-034). Returns the largest scaled entry.
template <class T>
RealOf<T> equilibrate_symmetric(int64_t n, const int32_t* indptr, const int32_t* columns, const T* data, bool definite,
                                T* scaled, RealOf<T>* scale) {
  using R = RealOf<T>;
  const int sweeps = definite ? 1 : 3;
  std::fill(scale, scale + n, R(1));
  for (int sweep = 0; sweep < sweeps; sweep++) {
    for (int64_t i = 0; i < n; i++) {
      R largest = 0;
      for (int32_t e = indptr[i]; e < indptr[i + 1]; e++) {
        if (!definite || columns[e] == i) largest = std::max(largest, finite_magnitude(data[e]) * scale[columns[e]]);
      }
      scale[i] *= root_scale_of(largest * scale[i]);
    }
  }
  R largest = 0;
  for (int64_t i = 0; i < n; i++) {
    for (int32_t e = indptr[i]; e < indptr[i + 1]; e++) {
      scaled[e] = data[e] * (scale[i] * scale[columns[e]]);
      largest = std::max(largest, finite_magnitude(scaled[e]));
    }
  }
  return largest;
}

}  // namespace sparsesolve

#endif  // SPARSESOLVE_SCALING_H_
