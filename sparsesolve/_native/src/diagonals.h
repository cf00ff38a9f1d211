// Products with a matrix that lies by diagonals: values[d][i] = A(i, i + offset[d]), zero where nothing is stored.
//
//   y[i] = sum_d values[d][i] v[i + offset[d]]        and for the transpose        y[j] = sum_d values[d][i] v[i]
//                                                                                   with i = j - offset[d]
//
// Both read `other = i + shift[d]` of v, with shift = offset or -offset; the value lies at i, or at `other`. Blocks of
// rows stay in the first-level cache while groups of diagonals are added, so that few streams are read at a time.

#ifndef SPARSESOLVE_DIAGONALS_H_
#define SPARSESOLVE_DIAGONALS_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "pack.h"

namespace sparsesolve {

template <class T>
struct Diagonals {
  std::vector<const T*> values;
  std::vector<int64_t> shift;
  int64_t rows, others;  // length of the result, and of v
  bool transpose;
};

constexpr int64_t kDiagonalBlock = 512;
constexpr int kDiagonalGroup = 14;

// The first numbers of `Count` diagonals and of what they are multiplied with, so that row i lies at [i].
template <class T, int Count>
struct DiagonalGroup {
  const T* values[Count];
  const T* vectors[Count];
  DiagonalGroup(const Diagonals<T>& a, size_t first, int64_t columns, const T* v) {
    for (int d = 0; d < Count; d++) {
      const int64_t shift = a.shift[first + d];
      values[d] = a.values[first + d] + (a.transpose ? shift : 0);
      vectors[d] = v + shift * columns;
    }
  }
};

// Rows [begin, end), all of whose entries lie inside; the sum starts from y unless `Fresh`.
template <class T, int Count, bool Fresh>
void add_group(const DiagonalGroup<T, Count>& g, int64_t begin, int64_t end, T* y) {
  using P = Pack<T>;
  int64_t i = begin;
  for (; i + 2 * P::width <= end; i += 2 * P::width) {
    typename P::type one = Fresh ? typename P::type{} : P::load(y + i);
    typename P::type two = Fresh ? typename P::type{} : P::load(y + i + P::width);
#pragma GCC unroll 14
    for (int d = 0; d < Count; d++) {
      one += P::product(P::load(g.values[d] + i), P::load(g.vectors[d] + i));
      two += P::product(P::load(g.values[d] + i + P::width), P::load(g.vectors[d] + i + P::width));
    }
    P::store(y + i, one);
    P::store(y + i + P::width, two);
  }
  for (; i < end; i++) {
    T sum = Fresh ? T{} : y[i];
    for (int d = 0; d < Count; d++) sum += multiply(g.values[d][i], g.vectors[d][i]);
    y[i] = sum;
  }
}

// The same for a block of columns: v is (others, columns), y is (rows, columns).
template <class T, int Count, bool Fresh>
void add_group(const DiagonalGroup<T, Count>& g, int64_t begin, int64_t end, int64_t columns, T* y) {
  using P = Pack<T>;
  for (int64_t i = begin; i < end; i++) {
    T* row = y + i * columns;
    int64_t at = 0;
    for (; at + P::width <= columns; at += P::width) {
      typename P::type sum = Fresh ? typename P::type{} : P::load(row + at);
#pragma GCC unroll 14
      for (int d = 0; d < Count; d++) {
        sum += P::product(g.values[d][i], P::load(g.vectors[d] + i * columns + at));
      }
      P::store(row + at, sum);
    }
    if (at == columns) continue;
    const int some = static_cast<int>(columns - at);
    typename P::type sum = Fresh ? typename P::type{} : P::load_n(row + at, some);
    for (int d = 0; d < Count; d++) {
      sum += P::product(g.values[d][i], P::load_n(g.vectors[d] + i * columns + at, some));
    }
    P::store_n(row + at, sum, some);
  }
}

template <class T, int Count>
void add_some_diagonals(const Diagonals<T>& a, size_t first, int64_t begin, int64_t end, int64_t columns, const T* v,
                        T* y) {
  const DiagonalGroup<T, Count> group(a, first, columns, v);
  if (columns == 1) {
    first == 0 ? add_group<T, Count, true>(group, begin, end, y) : add_group<T, Count, false>(group, begin, end, y);
  } else {
    first == 0 ? add_group<T, Count, true>(group, begin, end, columns, y)
               : add_group<T, Count, false>(group, begin, end, columns, y);
  }
}

template <class T>
void add_inner_diagonals(const Diagonals<T>& a, size_t first, int count, int64_t begin, int64_t end, int64_t columns,
                         const T* v, T* y) {
  switch (count) {
    case 1: return add_some_diagonals<T, 1>(a, first, begin, end, columns, v, y);
    case 2: return add_some_diagonals<T, 2>(a, first, begin, end, columns, v, y);
    case 3: return add_some_diagonals<T, 3>(a, first, begin, end, columns, v, y);
    case 4: return add_some_diagonals<T, 4>(a, first, begin, end, columns, v, y);
    case 5: return add_some_diagonals<T, 5>(a, first, begin, end, columns, v, y);
    case 6: return add_some_diagonals<T, 6>(a, first, begin, end, columns, v, y);
    case 7: return add_some_diagonals<T, 7>(a, first, begin, end, columns, v, y);
    case 8: return add_some_diagonals<T, 8>(a, first, begin, end, columns, v, y);
    case 9: return add_some_diagonals<T, 9>(a, first, begin, end, columns, v, y);
    case 10: return add_some_diagonals<T, 10>(a, first, begin, end, columns, v, y);
    case 11: return add_some_diagonals<T, 11>(a, first, begin, end, columns, v, y);
    case 12: return add_some_diagonals<T, 12>(a, first, begin, end, columns, v, y);
    case 13: return add_some_diagonals<T, 13>(a, first, begin, end, columns, v, y);
    default: return add_some_diagonals<T, 14>(a, first, begin, end, columns, v, y);
  }
}

// Rows [begin, end), one diagonal after the other, each where it lies inside.
template <class T>
void multiply_edge(const Diagonals<T>& a, int64_t begin, int64_t end, int64_t columns, const T* v, T* y) {
  std::fill(y + begin * columns, y + end * columns, T{});
  for (size_t d = 0; d < a.shift.size(); d++) {
    const int64_t shift = a.shift[d], low = std::max(begin, -shift), high = std::min(end, a.others - shift);
    const T* values = a.values[d] + (a.transpose ? shift : 0);
    if (columns == 1) {
      for (int64_t i = low; i < high; i++) y[i] += multiply(values[i], v[i + shift]);
    } else {
      for (int64_t i = low; i < high; i++) add_row<T>(values[i], v + (i + shift) * columns, columns, y + i * columns);
    }
  }
}

// Rows [begin, end) of the product.
template <class T>
void multiply_diagonals(const Diagonals<T>& a, int64_t begin, int64_t end, int64_t columns, const T* v, T* y) {
  const auto [least, most] = std::minmax_element(a.shift.begin(), a.shift.end());
  const int64_t inner = std::clamp<int64_t>(-*least, begin, end);
  const int64_t outer = std::clamp<int64_t>(std::min(a.rows, a.others - *most), inner, end);
  multiply_edge<T>(a, begin, inner, columns, v, y);
  multiply_edge<T>(a, outer, end, columns, v, y);
  const int64_t step = std::max<int64_t>(1, kDiagonalBlock / columns);
  for (int64_t i = inner; i < outer; i += step) {
    for (size_t first = 0; first < a.shift.size(); first += kDiagonalGroup) {
      const int count = static_cast<int>(std::min<size_t>(kDiagonalGroup, a.shift.size() - first));
      add_inner_diagonals<T>(a, first, count, i, std::min(outer, i + step), columns, v, y);
    }
  }
}

}  // namespace sparsesolve

#endif  // SPARSESOLVE_DIAGONALS_H_
