// Scalars of the kernels: float, double and their complex numbers, with the few operations that differ between them.

#ifndef SPARSESOLVE_SCALAR_H_
#define SPARSESOLVE_SCALAR_H_

#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>

namespace sparsesolve {

template <class T>
struct ScalarTraits {
  using Real = T;
  static constexpr bool is_complex = false;
};

template <class R>
struct ScalarTraits<std::complex<R>> {
  using Real = R;
  static constexpr bool is_complex = true;
};

template <class T>
using RealOf = typename ScalarTraits<T>::Real;

// A size for comparisons, cheaper than the modulus and within a factor of sqrt(2) of it.
template <class T>
inline RealOf<T> magnitude(T x) {
  if constexpr (ScalarTraits<T>::is_complex) {
    return std::abs(x.real()) + std::abs(x.imag());
  } else {
    return std::abs(x);
  }
}

// The textbook product: std::complex's operator* tests every result for NaN.
template <class T>
inline T multiply(T a, T b) {
  if constexpr (ScalarTraits<T>::is_complex) {
    return T(a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real());
  } else {
    return a * b;
  }
}

// A pivot, moved away from zero to size `tiny` in its own direction when it is smaller. NaN stays NaN.
template <class T>
inline T away_from_zero(T pivot, RealOf<T> tiny) {
  const RealOf<T> size = std::abs(pivot);
  if (!(size < tiny)) return pivot;
  return size > 0 ? pivot / size * tiny : T(tiny);
}

}  // namespace sparsesolve

#endif  // SPARSESOLVE_SCALAR_H_
