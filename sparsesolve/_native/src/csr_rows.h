// Products with CSR values whose rows are of no particular form.
//
// Rows are visited in an order in which neighbours have equally many entries and lie near each other, so that the
// number of entries is the same for many rows (no mispredicted branches) and several rows add up side by side. The
// transpose adds row after row to the result. Every index is checked just before it is used.

#ifndef SPARSESOLVE_CSR_ROWS_H_
#define SPARSESOLVE_CSR_ROWS_H_

#include <algorithm>
#include <cstdint>

#include "pack.h"
#include "tree.h"

namespace sparsesolve {

struct CsrRows {
  int64_t rows, columns, nnz;
  const int32_t* indptr;
  const int32_t* indices;
  const int32_t* order;  // the rows, those of equal length together

  void check_row(int64_t row) const {
    require(row >= 0 && row < rows, "order: a row is outside the matrix");
    require(indptr[row] >= 0 && indptr[row] <= indptr[row + 1] && indptr[row + 1] <= nnz, "indptr: outside the values");
  }

  int64_t column(int64_t k) const {
    const uint32_t at = static_cast<uint32_t>(indices[k]);
    if (__builtin_expect(at >= columns, 0)) throw std::invalid_argument("indices: an entry is outside the matrix");
    return at;
  }
};

template <class T, int Count>
inline void multiply_rows(const CsrRows& a, const int32_t* order, int64_t length, const T* data, const T* v, T* y) {
  int64_t start[Count];
  T sums[Count] = {};
  for (int q = 0; q < Count; q++) start[q] = a.indptr[order[q]];
  for (int64_t k = 0; k < length; k++) {
#pragma GCC unroll 4
    for (int q = 0; q < Count; q++) sums[q] += multiply(data[start[q] + k], v[a.column(start[q] + k)]);
  }
  for (int q = 0; q < Count; q++) y[order[q]] = sums[q];
}

// Rows [begin, end) of the order of `y = A v`.
template <class T>
void multiply_csr(const CsrRows& a, int64_t begin, int64_t end, const T* data, const T* v, T* y) {
  const auto length = [&](int64_t i) {
    a.check_row(a.order[i]);
    return a.indptr[a.order[i] + 1] - a.indptr[a.order[i]];
  };
  for (int64_t i = begin; i < end;) {
    const int32_t one = length(i);
    if (i + 4 <= end && length(i + 1) == one && length(i + 2) == one && length(i + 3) == one) {
      multiply_rows<T, 4>(a, a.order + i, one, data, v, y);
      i += 4;
    } else {
      multiply_rows<T, 1>(a, a.order + i, one, data, v, y);
      i++;
    }
  }
}

// The same for a block of columns: v is (n, columns), y is (m, columns).
template <class T>
void multiply_csr(const CsrRows& a, int64_t begin, int64_t end, int64_t columns, const T* data, const T* v, T* y) {
  if (columns == 1) return multiply_csr<T>(a, begin, end, data, v, y);
  for (int64_t i = begin; i < end; i++) {
    const int64_t row = a.order[i];
    a.check_row(row);
    const int64_t start = a.indptr[row];
    const auto entry = [&](int64_t k) { return std::pair<T, int64_t>(data[start + k], a.column(start + k)); };
    combine_rows<T>(a.indptr[row + 1] - start, entry, v, columns, y + row * columns);
  }
}

// `y += A^T v`.
template <class T>
void add_transposed_csr(const CsrRows& a, int64_t columns, const T* data, const T* v, T* y) {
  for (int64_t row = 0; row < a.rows; row++) {
    a.check_row(row);
    for (int64_t k = a.indptr[row]; k < a.indptr[row + 1]; k++) {
      T* to = y + a.column(k) * columns;
      if (columns == 1) {
        *to += multiply(data[k], v[row]);
      } else {
        add_row<T>(data[k], v + row * columns, columns, to);
      }
    }
  }
}

}  // namespace sparsesolve

#endif  // SPARSESOLVE_CSR_ROWS_H_
