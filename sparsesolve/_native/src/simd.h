// Vectors of float and double of the width this file is compiled for, by the compiler's vector extension.
//
// `load_n` and `store_n` touch the first `count` elements only (0 < count <= width) and never read outside.

#ifndef SPARSESOLVE_SIMD_H_
#define SPARSESOLVE_SIMD_H_

#include <cstring>

#if defined(__AVX512F__)
#include <immintrin.h>
#define SPARSESOLVE_VECTOR_BYTES 64
#elif defined(__AVX__)
#define SPARSESOLVE_VECTOR_BYTES 32
#else
#define SPARSESOLVE_VECTOR_BYTES 16
#endif

namespace sparsesolve {

template <class T>
struct Vector;

template <>
struct Vector<float> {
  typedef float type __attribute__((vector_size(SPARSESOLVE_VECTOR_BYTES)));
};

template <>
struct Vector<double> {
  typedef double type __attribute__((vector_size(SPARSESOLVE_VECTOR_BYTES)));
};

template <class T>
struct Simd {
  using type = typename Vector<T>::type;
  static constexpr int width = SPARSESOLVE_VECTOR_BYTES / sizeof(T);

  static inline type load(const T* from) {
    type x;
    std::memcpy(&x, from, sizeof(x));
    return x;
  }

  static inline void store(T* to, type x) { std::memcpy(to, &x, sizeof(x)); }

  static inline type load_n(const T* from, int count) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 8) {
      return (type)_mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << count) - 1), from);
    } else {
      return (type)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), from);
    }
#else
    type x = {};
    for (int i = 0; i < count; i++) x[i] = from[i];
    return x;
#endif
  }

  static inline void store_n(T* to, type x, int count) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 8) {
      _mm512_mask_storeu_pd(to, static_cast<__mmask8>((1u << count) - 1), (__m512d)x);
    } else {
      _mm512_mask_storeu_ps(to, static_cast<__mmask16>((1u << count) - 1), (__m512)x);
    }
#else
    for (int i = 0; i < count; i++) to[i] = x[i];
#endif
  }

  static inline T sum(type x) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 8) return _mm512_reduce_add_pd((__m512d)x);
    if constexpr (sizeof(T) == 4) return _mm512_reduce_add_ps((__m512)x);
#endif
    T total = 0;
    for (int i = 0; i < width; i++) total += x[i];
    return total;
  }
};

}  // namespace sparsesolve

#endif  // SPARSESOLVE_SIMD_H_
