// Arithmetic on a group of numbers, one of each matrix of a group ("lanes"), or on a single number.
//
// `Lanes<T, W>::Value` holds W numbers of type T: a vector register or several, real and imaginary parts apart. With
// W = 1 it is T itself, so that one template serves a single matrix and the members of a batch side by side. Nothing
// here mixes lanes: NaN in one stays there.

#ifndef SPARSESOLVE_LANES_H_
#define SPARSESOLVE_LANES_H_

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <type_traits>

#include "scalar.h"
#include "simd.h"

namespace sparsesolve {

template <class R, int W>
struct RealLanes {
  typedef R type __attribute__((vector_size(W * sizeof(R))));
};

template <class V>
struct ComplexLanes {
  V re, im;
};

// Integers as wide as the numbers: bits and masks.
template <class R, int W>
struct LaneBits {
  using Bits = std::conditional_t<sizeof(R) == 8, int64_t, int32_t>;
  typedef Bits type __attribute__((vector_size(W * sizeof(R))));
  static constexpr Bits kNoSign = std::numeric_limits<Bits>::max();
};

// Without a comparison, which would wait for it.
template <class R, int W>
inline typename RealLanes<R, W>::type lane_abs(typename RealLanes<R, W>::type a) {
  using B = LaneBits<R, W>;
  return (typename RealLanes<R, W>::type)((typename B::type)a & B::kNoSign);
}

// The larger of two sizes in each lane; where `size` is NaN it does not count.
template <class S>
inline S lane_max(S most, S size) {
#if defined(__AVX512F__)
  if constexpr (sizeof(S) == 64 && sizeof(most[0]) == 8) return (S)_mm512_max_pd((__m512d)size, (__m512d)most);
  if constexpr (sizeof(S) == 64 && sizeof(most[0]) == 4) return (S)_mm512_max_ps((__m512)size, (__m512)most);
#endif
  return size > most ? size : most;
}

// Whether a comparison holds in any lane.
template <class Mask>
inline bool any_lane(Mask mask) {
#if defined(__AVX512F__)
  if constexpr (sizeof(Mask) == 64) return _mm512_test_epi32_mask((__m512i)mask, (__m512i)mask) != 0;
#endif
  bool found = false;
  for (size_t i = 0; i < sizeof(Mask) / sizeof(mask[0]); i++) found |= mask[i] != 0;
  return found;
}

// Real numbers, W at once.
template <class T, int W>
struct Lanes {
  using Scalar = T;
  using Value = typename RealLanes<T, W>::type;
  using Size = Value;  // magnitudes
  static constexpr int kWidth = W;

  static inline Value zero() { return Value{}; }
  static inline Value times(Value a, Value b) { return a * b; }
  static inline Value scaled(Value a, Size s) { return a * s; }
  static inline Value minus(Value a, Value b) { return a - b; }
  static inline void subtract(Value& to, Value a, Value b) { to -= a * b; }
  static inline Value inverse(Value a) { return T(1) / a; }
  static inline T get(const Value& a, int lane) { return a[lane]; }
  static inline void set(Value& a, int lane, T x) { a[lane] = x; }
  static inline RealOf<T> get_size(const Size& a, int lane) { return a[lane]; }
  static inline void set_size(Size& a, int lane, RealOf<T> x) { a[lane] = x; }
  static inline Size magnitude(Value a) { return lane_abs<T, W>(a); }
};

template <class R, int W>
struct Lanes<std::complex<R>, W> {
  using Scalar = std::complex<R>;
  using Size = typename RealLanes<R, W>::type;
  using Value = ComplexLanes<Size>;
  static constexpr int kWidth = W;

  static inline Value zero() { return {Size{}, Size{}}; }
  static inline Value times(Value a, Value b) { return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }
  static inline Value scaled(Value a, Size s) { return {a.re * s, a.im * s}; }
  static inline Value minus(Value a, Value b) { return {a.re - b.re, a.im - b.im}; }
  static inline void subtract(Value& to, Value a, Value b) {
    to.re -= a.re * b.re, to.re += a.im * b.im;
    to.im -= a.re * b.im, to.im -= a.im * b.re;
  }
  static inline Value inverse(Value a) {  // scaled by the larger part, so that squares do not overflow
    const Size size = magnitude(a);
    const Size re = a.re / size, im = a.im / size;
    const Size norm = (re * re + im * im) * size;
    return {re / norm, -im / norm};
  }
  static inline Scalar get(const Value& a, int lane) { return Scalar(a.re[lane], a.im[lane]); }
  static inline void set(Value& a, int lane, Scalar x) { a.re[lane] = x.real(), a.im[lane] = x.imag(); }
  static inline R get_size(const Size& a, int lane) { return a[lane]; }
  static inline void set_size(Size& a, int lane, R x) { a[lane] = x; }
  static inline Size magnitude(Value a) { return lane_abs<R, W>(a.re) + lane_abs<R, W>(a.im); }
};

template <class T>
struct Lanes<T, 1> {
  using Scalar = T;
  using Value = T;
  using Size = RealOf<T>;
  static constexpr int kWidth = 1;

  static inline Value zero() { return T(0); }
  static inline Value times(Value a, Value b) { return multiply(a, b); }
  static inline Value scaled(Value a, Size s) { return a * s; }
  static inline Value minus(Value a, Value b) { return a - b; }
  static inline void subtract(Value& to, Value a, Value b) { to -= multiply(a, b); }
  static inline Value inverse(Value a) { return T(1) / a; }
  static inline T get(const Value& a, int) { return a; }
  static inline void set(Value& a, int, T x) { a = x; }
  static inline Size get_size(const Size& a, int) { return a; }
  static inline void set_size(Size& a, int, Size x) { a = x; }
  static inline Size magnitude(Value a) { return sparsesolve::magnitude(a); }
};

template <class R>
struct Lanes<std::complex<R>, 1> {
  using Scalar = std::complex<R>;
  using Value = std::complex<R>;
  using Size = R;
  static constexpr int kWidth = 1;

  static inline Value zero() { return Value(0); }
  static inline Value times(Value a, Value b) { return multiply(a, b); }
  static inline Value scaled(Value a, Size s) { return Value(a.real() * s, a.imag() * s); }
  static inline Value minus(Value a, Value b) { return a - b; }
  static inline void subtract(Value& to, Value a, Value b) { to -= multiply(a, b); }
  static inline Value inverse(Value a) {
    const R size = magnitude(a), re = a.real() / size, im = a.imag() / size, norm = (re * re + im * im) * size;
    return {re / norm, -im / norm};
  }
  static inline Scalar get(const Value& a, int) { return a; }
  static inline void set(Value& a, int, Scalar x) { a = x; }
  static inline R get_size(const Size& a, int) { return a; }
  static inline void set_size(Size& a, int, R x) { a = x; }
  static inline Size magnitude(Value a) { return sparsesolve::magnitude(a); }
};

// Lanes that fill a register of 64 bytes (two of 32 where there are none).
template <class T>
constexpr int kLanes = 64 / static_cast<int>(sizeof(RealOf<T>));

// Uninitialised working space of values, aligned to whole registers.
struct FreeAligned {
  void operator()(void* memory) const { std::free(memory); }
};
template <class V>
using Aligned = std::unique_ptr<V[], FreeAligned>;

template <class V>
Aligned<V> allocate_aligned(int64_t count) {
  const size_t bytes = (sizeof(V) * static_cast<size_t>(std::max<int64_t>(count, 1)) + 63) & ~size_t{63};
  void* memory = std::aligned_alloc(64, bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return Aligned<V>(static_cast<V*>(memory));
}

// A square tile of numbers, rows to columns: W rows of W lanes, exchanged in blocks of 1, 2, 4, ...
template <class R, int W>
inline void transpose_tile(typename RealLanes<R, W>::type* rows) {
#if defined(__GNUC__) && !defined(__clang__)
  using Bits = std::conditional_t<sizeof(R) == 8, int64_t, int32_t>;
  typedef Bits Index __attribute__((vector_size(W * sizeof(R))));
#pragma GCC unroll 4
  for (int block = 1; block < W; block *= 2) {
    Index first, second;
#pragma GCC unroll 16
    for (int i = 0; i < W; i++) {
      first[i] = (i & block) ? W + i - block : i;
      second[i] = (i & block) ? W + i : i + block;
    }
#pragma GCC unroll 16
    for (int i = 0; i < W; i++) {
      if (i & block) continue;
      const auto a = rows[i], b = rows[i + block];
      rows[i] = __builtin_shuffle(a, b, first);
      rows[i + block] = __builtin_shuffle(a, b, second);
    }
  }
#else
  for (int i = 0; i < W; i++) {
    for (int j = 0; j < i; j++) {
      const R x = rows[i][j];
      rows[i][j] = rows[j][i];
      rows[j][i] = x;
    }
  }
#endif
}

// to[e] = the e-th numbers of all members. A complex number is two real ones: its parts lie side by side here as there.
template <class L>
void interleave(int64_t count, const typename L::Scalar* const* members, typename L::Value* to) {
  using R = RealOf<typename L::Scalar>;
  constexpr int W = L::kWidth;
  using Row = typename RealLanes<R, W>::type;
  const int64_t numbers = count * static_cast<int64_t>(sizeof(typename L::Scalar) / sizeof(R));
  Row* out = reinterpret_cast<Row*>(to);
  const R* in[W];
  for (int l = 0; l < W; l++) in[l] = reinterpret_cast<const R*>(members[l]);
  int64_t e = 0;
  for (; e + W <= numbers; e += W) {
    Row tile[W];
#pragma GCC unroll 16
    for (int l = 0; l < W; l++) std::memcpy(&tile[l], in[l] + e, sizeof(Row));
    transpose_tile<R, W>(tile);
#pragma GCC unroll 16
    for (int l = 0; l < W; l++) out[e + l] = tile[l];
  }
  for (; e < numbers; e++) {
    for (int l = 0; l < W; l++) out[e][l] = in[l][e];
  }
}

// The reverse, for the first `some` members.
template <class L>
void deinterleave(int64_t count, const typename L::Value* from, int some, typename L::Scalar* const* members) {
  using R = RealOf<typename L::Scalar>;
  constexpr int W = L::kWidth;
  using Row = typename RealLanes<R, W>::type;
  const int64_t numbers = count * static_cast<int64_t>(sizeof(typename L::Scalar) / sizeof(R));
  const Row* in = reinterpret_cast<const Row*>(from);
  R* out[W];
  for (int l = 0; l < some; l++) out[l] = reinterpret_cast<R*>(members[l]);
  int64_t e = 0;
  for (; e + W <= numbers; e += W) {
    Row tile[W];
#pragma GCC unroll 16
    for (int l = 0; l < W; l++) tile[l] = in[e + l];
    transpose_tile<R, W>(tile);
    if (some == W) {
#pragma GCC unroll 16
      for (int l = 0; l < W; l++) std::memcpy(out[l] + e, &tile[l], sizeof(Row));
    } else {
      for (int l = 0; l < some; l++) std::memcpy(out[l] + e, &tile[l], sizeof(Row));
    }
  }
  for (; e < numbers; e++) {
    for (int l = 0; l < some; l++) out[l][e] = in[e][l];
  }
}

}  // namespace sparsesolve

#endif  // SPARSESOLVE_LANES_H_
