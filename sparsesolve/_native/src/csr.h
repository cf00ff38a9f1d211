// Sparse matrices by rows and batches of vectors, for the multigrid kernels.
//
// vmap gives every operand the same number of leading dimensions, of length 1 where it is not batched: `member` finds an
// operand's part for one member of the result.

#ifndef SPARSESOLVE_CSR_H_
#define SPARSESOLVE_CSR_H_

#include <cstdint>

#include "buffers.h"
#include "scalar.h"

namespace sparsesolve {

// Pattern of a matrix: checked once, so that loops over it cannot leave their vectors.
struct CsrPattern {
  int64_t rows, columns, nnz;
  const int32_t *indptr, *indices;

  CsrPattern(const ffi::AnyBuffer& starts, const ffi::AnyBuffer& cols, int64_t columns_) : columns(columns_) {
    const auto p = table(starts, 1, "indptr");
    const auto j = table(cols, 1, "indices");
    require(p.size >= 1, "indptr: empty");
    rows = p.size - 1;
    nnz = j.size;
    indptr = p.data;
    indices = j.data;
    bool fits = indptr[0] == 0 && indptr[rows] == nnz;
    for (int64_t i = 0; i < rows; i++) fits &= indptr[i] <= indptr[i + 1];
    require(fits, "indptr: does not increase from 0 to the number of entries");
    require_below(indices, nnz, columns, "indices: a column outside the matrix");
  }
};

// Where the part of `operand` for member `m` of `result` begins.
template <class T, class R>
T* member(const View<T>& operand, const View<R>& result, int64_t m) {
  require(operand.batch_rank == result.batch_rank, "operands have different numbers of batch dimensions");
  int64_t offset = 0, stride = 1;
  for (size_t axis = result.batch_rank; axis-- > 0;) {
    const int64_t coordinate = m % result.dims[axis];
    m /= result.dims[axis];
    require(operand.dims[axis] == 1 || operand.dims[axis] == result.dims[axis], "batch dimensions do not agree");
    if (operand.dims[axis] != 1) offset += coordinate * stride;
    stride *= operand.dims[axis];
  }
  return operand.data + offset * operand.size;
}

// Row i of A times x.
template <class T>
inline T row_product(const CsrPattern& a, const T* __restrict values, const T* __restrict x, int64_t i) {
  T sum(0);
  for (int32_t e = a.indptr[i]; e < a.indptr[i + 1]; e++) sum += multiply(values[e], x[a.indices[e]]);
  return sum;
}

}  // namespace sparsesolve

#endif  // SPARSESOLVE_CSR_H_
