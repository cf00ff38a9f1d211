// Galerkin products from values on planned patterns, and greedy aggregation for the plan.
//
// Galerkin, C = R A P with R on the pattern of P^T: X = A P row by row into a dense row (F. G. Gustavson, ACM Trans.
// Math. Softw. 4 (1978) 250-269), then C = R X the same way. Operands: indptr and indices of A (n x n), of P (n x c) and
// of C (c x c), increasing rows (int32, not batched); values of A (..., nnz), of P (..., entries) and of R^T
// (..., entries). Result: values of C (..., coarse entries).

#include <vector>

#include "binding.h"
#include "csr.h"

namespace sparsesolve {
namespace {

// P^T: for each column its rows and entries.
struct Turned {
  std::vector<int32_t> start, row, entry;

  explicit Turned(const CsrPattern& p) : start(p.columns + 1, 0), row(p.nnz), entry(p.nnz) {
    for (int64_t e = 0; e < p.nnz; e++) start[p.indices[e] + 1]++;
    for (int64_t j = 0; j < p.columns; j++) start[j + 1] += start[j];
    std::vector<int32_t> next(start.begin(), start.end() - 1);
    for (int64_t i = 0; i < p.rows; i++) {
      for (int32_t e = p.indptr[i]; e < p.indptr[i + 1]; e++) {
        const int32_t at = next[p.indices[e]]++;
        row[at] = static_cast<int32_t>(i);
        entry[at] = e;
      }
    }
  }
};

template <class T>
void galerkin(const CsrPattern& a, const CsrPattern& p, const CsrPattern& c, const Turned& turned, const T* av,
              const T* pv, const T* rv, T* __restrict cv) {
  std::vector<int64_t> start(a.rows + 1, 0), seen(p.columns, -1);
  std::vector<int32_t> column;
  std::vector<T> value;
  column.reserve(2 * a.nnz);
  value.reserve(2 * a.nnz);
  for (int64_t i = 0; i < a.rows; i++) {
    const int64_t first = static_cast<int64_t>(column.size());
    for (int32_t e = a.indptr[i]; e < a.indptr[i + 1]; e++) {
      const int32_t k = a.indices[e];
      for (int32_t f = p.indptr[k]; f < p.indptr[k + 1]; f++) {
        const int32_t j = p.indices[f];
        const T term = multiply(av[e], pv[f]);
        if (seen[j] >= first) {
          value[seen[j]] += term;
        } else {
          seen[j] = static_cast<int64_t>(column.size());
          column.push_back(j);
          value.push_back(term);
        }
      }
    }
    start[i + 1] = static_cast<int64_t>(column.size());
  }
  std::fill(seen.begin(), seen.end(), -1);
  std::fill(cv, cv + c.nnz, T(0));
  for (int64_t row = 0; row < c.rows; row++) {
    for (int32_t e = c.indptr[row]; e < c.indptr[row + 1]; e++) seen[c.indices[e]] = e;
    for (int32_t t = turned.start[row]; t < turned.start[row + 1]; t++) {
      const T weight = rv[turned.entry[t]];
      for (int64_t s = start[turned.row[t]]; s < start[turned.row[t] + 1]; s++) {
        const int64_t at = seen[column[s]];
        require(at >= c.indptr[row], "the coarse pattern lacks an entry of the product");
        cv[at] += multiply(weight, value[s]);
      }
    }
  }
}

template <class T>
void run_galerkin(const ffi::AnyBuffer* tables, ffi::AnyBuffer a, ffi::AnyBuffer p, ffi::AnyBuffer r,
                  ffi::Result<ffi::AnyBuffer> c) {
  const auto av = view<const T>(a, 1, "a"), pv = view<const T>(p, 1, "p"), rv = view<const T>(r, 1, "r");
  const auto cv = view<T>(*c, 1, "c");
  const int64_t n = table(tables[0], 1, "indptr").size - 1, coarse = table(tables[4], 1, "indptr").size - 1;
  const CsrPattern fine(tables[0], tables[1], n), between(tables[2], tables[3], coarse);
  const CsrPattern next(tables[4], tables[5], coarse);
  require(between.rows == n, "P: wrong number of rows");
  require(av.size == fine.nnz && pv.size == between.nnz && rv.size == between.nnz && cv.size == next.nnz,
          "values: not one for each entry");
  const Turned turned(between);
  for (int64_t m = 0; m < cv.members; m++) {
    galerkin<T>(fine, between, next, turned, member(av, cv, m), member(pv, cv, m), member(rv, cv, m),
                cv.data + m * cv.size);
  }
}

ffi::Error galerkin_call(ffi::AnyBuffer a_start, ffi::AnyBuffer a_column, ffi::AnyBuffer p_start,
                         ffi::AnyBuffer p_column, ffi::AnyBuffer c_start, ffi::AnyBuffer c_column, ffi::AnyBuffer a,
                         ffi::AnyBuffer p, ffi::AnyBuffer r, ffi::Result<ffi::AnyBuffer> c) {
  return guarded([&] {
    const ffi::AnyBuffer tables[] = {a_start, a_column, p_start, p_column, c_start, c_column};
    dispatch(c->element_type(), [&](auto zero) { run_galerkin<decltype(zero)>(tables, a, p, r, c); });
  });
}

}  // namespace

}  // namespace sparsesolve

SPARSESOLVE_HANDLER(SparsesolveGalerkin, sparsesolve::galerkin_call,
                    sparsesolve::results<1>(sparsesolve::operands<9>(xla::ffi::Ffi::Bind())));

// Aggregates of a symmetric graph without loops, `_aggregation.py` says how. Writes the aggregate of each node, -1 for
// nodes without neighbours. Returns the number of aggregates, -1 for indices outside, -2 for memory.
extern "C" __attribute__((visibility("default"))) int32_t sparsesolve_aggregate(int32_t n, const int32_t* indptr,
                                                                                const int32_t* indices,
                                                                                int32_t* label) try {
  for (int32_t i = 0; i < n; i++) {
    if (indptr[i] < 0 || indptr[i + 1] < indptr[i] || indptr[i + 1] > indptr[n]) return -1;
    for (int32_t e = indptr[i]; e < indptr[i + 1]; e++) {
      if (indices[e] < 0 || indices[e] >= n) return -1;
    }
    label[i] = -1;
  }
  int32_t count = 0;
  for (int32_t i = 0; i < n; i++) {
    bool free = label[i] < 0 && indptr[i] < indptr[i + 1];
    for (int32_t e = indptr[i]; free && e < indptr[i + 1]; e++) free = label[indices[e]] < 0;
    if (!free) continue;
    label[i] = count;
    for (int32_t e = indptr[i]; e < indptr[i + 1]; e++) label[indices[e]] = count;
    count++;
  }
  const std::vector<int32_t> founded(label, label + n);
  for (int32_t i = 0; i < n; i++) {
    for (int32_t e = indptr[i]; label[i] < 0 && e < indptr[i + 1]; e++) label[i] = founded[indices[e]];
  }
  for (int32_t i = 0; i < n; i++) {
    if (label[i] >= 0 || indptr[i] == indptr[i + 1]) continue;
    label[i] = count;
    for (int32_t e = indptr[i]; e < indptr[i + 1]; e++) {
      if (label[indices[e]] < 0) label[indices[e]] = count;
    }
    count++;
  }
  return count;
} catch (const std::exception&) {
  return -2;
}
