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

  // y[p] -= the sum of x[p], for the first K of eight vectors.
  template <int K>
  static inline void subtract_sums(const type (&x)[8], T* y) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 8 && K > 2) {
      type pairs[4];
      for (int i = 0; i < 4; i++) {
        const __m512d a = (__m512d)x[2 * i], b = (__m512d)x[2 * i + 1];
        pairs[i] = (type)_mm512_add_pd(_mm512_unpacklo_pd(a, b), _mm512_unpackhi_pd(a, b));
      }
      __m512d fours[2];
      for (int i = 0; i < 2; i++) {
        const __m512d a = (__m512d)pairs[2 * i], b = (__m512d)pairs[2 * i + 1];
        fours[i] = _mm512_add_pd(_mm512_shuffle_f64x2(a, b, 0x44), _mm512_shuffle_f64x2(a, b, 0xEE));
      }
      const __m512d sums = _mm512_add_pd(_mm512_shuffle_f64x2(fours[0], fours[1], 0x88),
                                         _mm512_shuffle_f64x2(fours[0], fours[1], 0xDD));
      store_n(y, load_n(y, K) - (type)sums, K);
      return;
    }
#endif
    for (int p = 0; p < K; p++) y[p] -= sum(x[p]);
  }

  // base[index[i]] for the first `count` elements.
  static inline type gather_n(const T* base, const int* index, int count) {
#if defined(__AVX512F__) && defined(__AVX512VL__)
    if constexpr (sizeof(T) == 8) {
      const __mmask8 mask = static_cast<__mmask8>((1u << count) - 1);
      const __m256i places = _mm256_maskz_loadu_epi32(mask, index);
      return (type)_mm512_mask_i32gather_pd(_mm512_setzero_pd(), mask, places, base, 8);
    }
#endif
    type x = {};
    for (int i = 0; i < count; i++) x[i] = base[index[i]];
    return x;
  }
};

}  // namespace sparsesolve

#endif  // SPARSESOLVE_SIMD_H_
