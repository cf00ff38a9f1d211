// Several neighbouring numbers at once: a vector register of real numbers, or one complex number.

#ifndef SPARSESOLVE_PACK_H_
#define SPARSESOLVE_PACK_H_

#include <cstdint>
#include <utility>

#include "scalar.h"
#include "simd.h"

namespace sparsesolve {

template <class T>
struct Pack {
  using type = typename Simd<T>::type;
  static constexpr int width = Simd<T>::width;

  static inline type load(const T* from) { return Simd<T>::load(from); }
  static inline void store(T* to, type x) { Simd<T>::store(to, x); }
  static inline type load_n(const T* from, int count) { return Simd<T>::load_n(from, count); }
  static inline void store_n(T* to, type x, int count) { Simd<T>::store_n(to, x, count); }
  static inline type product(type a, type b) { return a * b; }
  static inline type product(T a, type b) { return a * b; }
  static inline T sum(type x) { return Simd<T>::sum(x); }

  // { f(0), f(1), ... }: inserted one by one, which is faster than a gather instruction where that is microcode.
  template <class F>
  static inline type collect(F&& f) {
    return collect(f, std::make_integer_sequence<int, width>{});
  }

 private:
  template <class F, int... Lane>
  static inline type collect(F& f, std::integer_sequence<int, Lane...>) {
    return type{f(Lane)...};
  }
};

template <class R>
struct Pack<std::complex<R>> {
  using T = std::complex<R>;
  using type = T;
  static constexpr int width = 1;

  static inline type load(const T* from) { return *from; }
  static inline void store(T* to, type x) { *to = x; }
  static inline type load_n(const T* from, int) { return *from; }
  static inline void store_n(T* to, type x, int) { *to = x; }
  static inline type product(T a, T b) { return multiply(a, b); }
  static inline T sum(type x) { return x; }
  template <class F>
  static inline type collect(F&& f) {
    return f(0);
  }
};

// y[0..columns) += or = sum over k < count of a(k) * v[index(k)], rows of `columns` numbers.
template <class T, class Entry>
inline void combine_rows(int64_t count, Entry&& entry, const T* v, int64_t columns, T* y) {
  using P = Pack<T>;
  int64_t at = 0;
  for (; at + 2 * P::width <= columns; at += 2 * P::width) {
    typename P::type sums[2] = {};
    for (int64_t k = 0; k < count; k++) {
      const auto [a, index] = entry(k);
      const T* from = v + index * columns + at;
      sums[0] += P::product(a, P::load(from));
      sums[1] += P::product(a, P::load(from + P::width));
    }
    P::store(y + at, sums[0]);
    P::store(y + at + P::width, sums[1]);
  }
  for (; at + P::width <= columns; at += P::width) {
    typename P::type sum{};
    for (int64_t k = 0; k < count; k++) {
      const auto [a, index] = entry(k);
      sum += P::product(a, P::load(v + index * columns + at));
    }
    P::store(y + at, sum);
  }
  for (; at < columns; at += P::width) {
    const int some = static_cast<int>(columns - at < P::width ? columns - at : P::width);
    typename P::type sum{};
    for (int64_t k = 0; k < count; k++) {
      const auto [a, index] = entry(k);
      sum += P::product(a, P::load_n(v + index * columns + at, some));
    }
    P::store_n(y + at, sum, some);
  }
}

// y[0..columns) += a * x[0..columns).
template <class T>
inline void add_row(T a, const T* x, int64_t columns, T* y) {
  for (int64_t c = 0; c < columns; c++) y[c] += multiply(a, x[c]);
}

}  // namespace sparsesolve

#endif  // SPARSESOLVE_PACK_H_
