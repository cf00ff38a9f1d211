// Weighted Gram matrices C = A^T diag(w) A from values on planned patterns.
//
// Row c of the lower triangle of C is the sum, over the rows i of A with an entry in column c, of w_i a_ic times the
// entries of row i up to column c, gathered in a dense row (F. G. Gustavson, ACM Trans. Math. Softw. 4 (1978) 250-269).
// Neighbouring columns are added as one run: in least squares, parameters come in groups. The upper triangle is copied.
// Operands: indptr and indices of A (m x n) and of C (n x n, symmetric, with its diagonal), increasing rows (int32, not
// batched); w (..., m), values of A (..., nnz), real. Result: values of C (..., entries).

#include <vector>

#include "binding.h"
#include "csr.h"

namespace sparsesolve {
namespace {

// A by columns, and for each entry where its run of neighbouring columns ends.
struct Columns {
  std::vector<int32_t> start, row, entry, run_end;

  explicit Columns(const CsrPattern& a) : start(a.columns + 1, 0), row(a.nnz), entry(a.nnz), run_end(a.nnz) {
    for (int64_t e = 0; e < a.nnz; e++) start[a.indices[e] + 1]++;
    for (int64_t j = 0; j < a.columns; j++) start[j + 1] += start[j];
    std::vector<int32_t> next(start.begin(), start.end() - 1);
    for (int64_t i = 0; i < a.rows; i++) {
      for (int32_t e = a.indptr[i]; e < a.indptr[i + 1]; e++) {
        const int32_t at = next[a.indices[e]]++;
        row[at] = static_cast<int32_t>(i);
        entry[at] = e;
      }
      for (int32_t e = a.indptr[i + 1]; e-- > a.indptr[i];) {
        const bool continues = e + 1 < a.indptr[i + 1] && a.indices[e + 1] == a.indices[e] + 1;
        run_end[e] = continues ? run_end[e + 1] : e + 1;
      }
    }
  }
};

template <class T>
void gram(const CsrPattern& a, const CsrPattern& c, const Columns& columns, const T* weight, const T* value,
          T* __restrict out) {
  std::vector<T> sum(c.columns, T(0));
  std::vector<int32_t> above(c.rows);  // where the next entry above the diagonal of each row goes
  for (int64_t j = 0; j < c.rows; j++) {
    for (int32_t t = columns.start[j]; t < columns.start[j + 1]; t++) {
      const int32_t i = columns.row[t], last = columns.entry[t];
      const T scale = weight[i] * value[last];
      for (int32_t f = a.indptr[i]; f <= last;) {
        const int32_t end = std::min(columns.run_end[f], last + 1);
        T* __restrict target = sum.data() + a.indices[f];
        const T* __restrict source = value + f;
        for (int32_t k = 0; k < end - f; k++) target[k] += scale * source[k];
        f = end;
      }
    }
    int32_t e = c.indptr[j];
    for (; e < c.indptr[j + 1] && c.indices[e] <= j; e++) {
      const int32_t column = c.indices[e];
      out[e] = sum[column];
      sum[column] = T(0);
      if (column == j) continue;
      const int32_t mirror = above[column]++;
      require(mirror < c.indptr[column + 1] && c.indices[mirror] == j, "C: the pattern is not symmetric");
      out[mirror] = out[e];
    }
    require(e > c.indptr[j] && c.indices[e - 1] == j, "C: a diagonal entry is not stored");
    above[j] = e;
  }
}

template <class T>
void run_gram(const ffi::AnyBuffer* tables, ffi::AnyBuffer weights, ffi::AnyBuffer values,
              ffi::Result<ffi::AnyBuffer> result) {
  const auto w = view<const T>(weights, 1, "weights"), v = view<const T>(values, 1, "values");
  const auto out = view<T>(*result, 1, "result");
  const int64_t n = table(tables[2], 1, "indptr").size - 1;
  const CsrPattern a(tables[0], tables[1], n), c(tables[2], tables[3], n);
  require(c.rows == n, "C: not square");
  require(w.size == a.rows && v.size == a.nnz && out.size == c.nnz, "values: not one for each entry");
  for (int64_t j = 0; j < n; j++) {
    for (int32_t e = c.indptr[j] + 1; e < c.indptr[j + 1]; e++) require(c.indices[e - 1] < c.indices[e], "C: not sorted");
  }
  for (int64_t i = 0; i < a.rows; i++) {
    for (int32_t e = a.indptr[i] + 1; e < a.indptr[i + 1]; e++) require(a.indices[e - 1] < a.indices[e], "A: not sorted");
  }
  const Columns columns(a);
  for (int64_t m = 0; m < out.members; m++) {
    gram<T>(a, c, columns, member(w, out, m), member(v, out, m), out.data + m * out.size);
  }
}

ffi::Error gram_call(ffi::AnyBuffer a_start, ffi::AnyBuffer a_column, ffi::AnyBuffer c_start, ffi::AnyBuffer c_column,
                     ffi::AnyBuffer weights, ffi::AnyBuffer values, ffi::Result<ffi::AnyBuffer> result) {
  return guarded([&] {
    const ffi::AnyBuffer tables[] = {a_start, a_column, c_start, c_column};
    switch (result->element_type()) {
      case ffi::DataType::F32: return run_gram<float>(tables, weights, values, result);
      case ffi::DataType::F64: return run_gram<double>(tables, weights, values, result);
      default: throw std::invalid_argument("values must be float32 or float64");
    }
  });
}

}  // namespace

}  // namespace sparsesolve

SPARSESOLVE_HANDLER(SparsesolveGram, sparsesolve::gram_call,
                    sparsesolve::results<1>(sparsesolve::operands<6>(xla::ffi::Ffi::Bind())));
