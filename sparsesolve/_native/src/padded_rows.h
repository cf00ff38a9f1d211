// Products with rows padded to a common width (ELL), or to a few widths, each a bucket of rows (sliced ELL).
//
// A bucket holds the columns of its entries as (width, rows), entry k of neighbouring rows side by side, or as
// (rows, width) where rows are long. Padding repeats a column of its row. Values are arranged in the same way, padded
// with zeros. `places` says which row of the result each row of the buckets is, null: they are in order. Every table is
// checked just before it is used.

#ifndef SPARSESOLVE_PADDED_ROWS_H_
#define SPARSESOLVE_PADDED_ROWS_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "pack.h"
#include "tree.h"

namespace sparsesolve {

struct Bucket {
  int64_t width, rows;
  bool by_rows;            // (rows, width)
  const int32_t* columns;
  const int32_t* places;   // of its rows in the result, or null
  int64_t first;           // row of the result of its first row, where `places` is null
  int64_t entry(int64_t k, int64_t row) const { return by_rows ? row * width + k : k * rows + row; }
  int64_t place(int64_t row) const { return places == nullptr ? first + row : places[row]; }
};

inline bool all_below(const int32_t* index, int64_t count, int64_t bound) {
  uint32_t largest = 0;
  for (int64_t i = 0; i < count; i++) largest = std::max(largest, static_cast<uint32_t>(index[i]));
  return count <= 0 || static_cast<int64_t>(largest) < bound;
}

// Rows [begin, end) of a bucket point into vectors of `columns` and results of `rows` entries.
inline void check_rows(const Bucket& b, int64_t begin, int64_t end, int64_t rows, int64_t columns) {
  bool inside = true;
  if (b.by_rows) {
    inside = all_below(b.columns + begin * b.width, (end - begin) * b.width, columns);
  } else {
    for (int64_t k = 0; k < b.width; k++) inside &= all_below(b.columns + k * b.rows + begin, end - begin, columns);
  }
  require(inside, "columns: an entry is outside the matrix");
  require(b.places == nullptr || all_below(b.places + begin, end - begin, rows), "places: a row is outside the result");
}

template <class T>
struct ArrangedValues {
  const Bucket& b;
  const T* const* values;  // one vector an entry, or one block (rows, width)
  T one(int64_t k, int64_t i) const { return b.by_rows ? values[0][i * b.width + k] : values[k][i]; }
  typename Pack<T>::type along_rows(int64_t k, int64_t i) const { return Pack<T>::load(values[k] + i); }
  const T* row(int64_t i) const { return values[0] + i * b.width; }
};

// Several rows at a time.
template <class T>
void multiply_side_by_side(const Bucket& b, const ArrangedValues<T>& a, int64_t begin, int64_t end, const T* v, T* y) {
  using P = Pack<T>;
  int64_t i = begin;
  for (; i + P::width <= end; i += P::width) {
    typename P::type sum{};
    for (int64_t k = 0; k < b.width; k++) {
      const int32_t* columns = b.columns + k * b.rows + i;
      sum += P::product(a.along_rows(k, i), P::collect([&](int lane) { return v[columns[lane]]; }));
    }
    if (b.places == nullptr) {
      P::store(y + b.first + i, sum);
    } else {
      T sums[P::width];
      P::store(sums, sum);
#pragma GCC unroll 16
      for (int lane = 0; lane < P::width; lane++) y[b.places[i + lane]] = sums[lane];
    }
  }
  for (; i < end; i++) {
    T sum{};
    for (int64_t k = 0; k < b.width; k++) sum += multiply(a.one(k, i), v[b.columns[k * b.rows + i]]);
    y[b.place(i)] = sum;
  }
}

// Long rows, one by one.
template <class T>
void multiply_along_rows(const Bucket& b, const ArrangedValues<T>& a, int64_t begin, int64_t end, const T* v, T* y) {
  using P = Pack<T>;
  for (int64_t i = begin; i < end; i++) {
    const int32_t* columns = b.columns + i * b.width;
    const T* values = a.row(i);
    typename P::type sum{};
    int64_t k = 0;
    for (; k + P::width <= b.width; k += P::width) {
      sum += P::product(P::load(values + k), P::collect([&](int lane) { return v[columns[k + lane]]; }));
    }
    T rest{};
    for (; k < b.width; k++) rest += multiply(values[k], v[columns[k]]);
    y[b.place(i)] = P::sum(sum) + rest;
  }
}

// Rows [begin, end) of a bucket, checked before.
template <class T>
void multiply_bucket(const Bucket& b, const ArrangedValues<T>& a, int64_t begin, int64_t end, int64_t columns, const T* v, T* y) {
  if (columns != 1) {
    for (int64_t i = begin; i < end; i++) {
      const auto entry = [&](int64_t k) {
        return std::pair<T, int64_t>(a.one(k, i), b.columns[b.entry(k, i)]);
      };
      combine_rows<T>(b.width, entry, v, columns, y + b.place(i) * columns);
    }
  } else if (b.by_rows) {
    multiply_along_rows<T>(b, a, begin, end, v, y);
  } else {
    multiply_side_by_side<T>(b, a, begin, end, v, y);
  }
}

}  // namespace sparsesolve

#endif  // SPARSESOLVE_PADDED_ROWS_H_
