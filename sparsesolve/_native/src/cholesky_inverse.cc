// Entries of A^-1 on the pattern of the Cholesky factor, root to leaves, without those outside it.
//
// With G = L21 L11^-1 of a front, and Z22 the entries of its border, which its ancestors have made,
//
//   Z21 = -Z22 G,     Z11 = L11^-T L11^-1 - G^T Z21.
//
// Every border row of a front is a row of its parent, so Z22 is gathered from the parent's Z. A front's Z22 is kept until
// its last child has read it. References: K. Takahashi, J. Fagan, M. S. Chen, Formation of a sparse bus impedance matrix
// and its application to short circuit study, 8th PICA Conference, 1973, 63-69; A. M. Erisman, W. F. Tinney, On computing
// certain elements of the inverse of a sparse matrix, Commun. ACM 18 (1975) 177-179, doi:10.1145/360680.360704.
// Cost: about twice the operations of the factorization.
//
// Operands: fronts (N, 4), parent_map (borders) (int32, not batched), factors (..., F) of `cholesky_factor.cc` without
// pivoting, real. Result: Z (..., S): of each front Z11, k x k, and Z21, m x k, column-major, of the scaled matrix.

#include <vector>

#include "binding.h"
#include "buffers.h"
#include "symmetric_front.h"

namespace sparsesolve {
namespace {

// What the fronts of one member need while their descendants are visited.
template <class T>
struct Inverse {
  const Tree& tree;
  const std::vector<int64_t>& start;  // of each front in the result
  const int32_t* parent_map;
  const T* factors;
  T* out;
  std::vector<Workspace<T>> border;  // Z22
  std::vector<int32_t> waiting;      // children that have not read it
  Workspace<T> space;

  // Z22 of a front from Z11, Z21 and Z22 of its parent.
  void gather(const Front& f, T* z22) const {
    const Front& g = tree.fronts[f.parent];
    const int64_t k = g.pivots, m = g.border, n = f.border;
    const int32_t* row = parent_map + f.border_start;
    const T *z11 = out + start[f.parent], *z21 = z11 + k * k, *rest = border[f.parent].get();
    for (int64_t j = 0; j < n; j++) {
      const int64_t c = row[j];
      const T* column = c < k ? z21 + c * m - k : rest + (c - k) * m - k;  // rows of the border, which count from k
      for (int64_t i = j; i < n; i++) {
        const int64_t r = row[i];
        const T z = r < k ? z11[c * k + r] : column[r];
        z22[j * n + i] = z22[i * n + j] = z;
      }
    }
  }

  void visit(int64_t s) {
    const Front& f = tree.fronts[s];
    const int k = f.pivots, m = f.border;
    const int64_t kk = int64_t{k} * k, km = int64_t{k} * m;
    T *z11 = out + start[s], *z21 = z11 + kk, *l11 = space.get(), *g = l11 + kk, *turned = g + km;
    unpack(k, factors + f.factor_start, l11);
    invert(k, l11, turned, z11);
    if (m == 0) return;
    border[s] = allocate<T>(int64_t{m} * m);
    gather(f, border[s].get());
    if (--waiting[f.parent] == 0) border[f.parent].reset();
    const T* l = factors + f.factor_start + panels_size(k);
    std::copy(l, l + km, g);
    solve_right_lower<T, false>(m, k, l11, 1, k, g, m);
    subtract_product<T>(m, k, m, border[s].get(), m, g, 1, m, z21, m, true);
    for (int64_t j = 0; j < k; j++) {
      for (int64_t i = 0; i < m; i++) turned[i * k + j] = g[j * m + i];
    }
    subtract_product<T>(k, k, m, turned, k, z21, 1, m, z11, k);
    if (waiting[s] == 0) border[s].reset();
  }

  static void unpack(int64_t k, const T* panels, T* d) {
    std::fill(d, d + k * k, T(0));
    for (int64_t first = 0; first < k; first += kBlock) {
      const int64_t rows = k - first, columns = std::min<int64_t>(kBlock, rows);
      for (int64_t j = 0; j < columns; j++) {
        std::copy(panels + j, panels + rows, d + first + j + (first + j) * k);
        panels += rows;
      }
    }
  }

  // z <- L11^-T L11^-1; the diagonal of l is inverted.
  static void invert(int k, const T* l, T* w, T* z) {
    const int64_t n = k;
    std::fill(w, w + n * n, T(0));
    for (int64_t j = 0; j < n; j++) w[j * (n + 1)] = T(1);
    solve_right_lower<T, false>(k, k, l, 1, k, w, k);
    for (int64_t j = 0; j < n; j++) {
      for (int64_t i = 0; i < n; i++) z[j * n + i] = w[i * n + j];
    }
    solve_right_lower<T, false>(k, k, l, 1, k, z, k);
  }
};

template <class T>
void run(const ffi::AnyBuffer& front_table, const ffi::AnyBuffer& map, const ffi::AnyBuffer& factor_buffer,
         const ffi::AnyBuffer& result) {
  const auto fronts = table(front_table, 2, "fronts"), parent_map = table(map, 1, "parent_map");
  const auto factors = view<const T>(factor_buffer, 1, "factors");
  const auto out = view<T>(result, 1, "inverse");
  require(fronts.core(1) == 4, "fronts must have four columns");
  require_same_batch(factors, out, "the inverse must be batched like the factors");
  int64_t unknowns = 0;
  for (int64_t s = 0; s < fronts.core(0); s++) unknowns += fronts.data[4 * s];
  const Tree tree =
      read_tree(fronts.data, fronts.core(0), {unknowns, parent_map.size, -1, factors.size}, symmetric_factor_size);
  std::vector<int64_t> start(tree.fronts.size());
  int64_t total = 0, largest = 0;
  for (size_t s = 0; s < tree.fronts.size(); s++) {
    const Front& f = tree.fronts[s];
    const int64_t k = f.pivots, m = f.border;
    require(f.parent >= 0 || m == 0, "fronts: a root has a border");
    const int64_t rows = f.parent < 0 ? 0 : tree.fronts[f.parent].pivots + tree.fronts[f.parent].border;
    const int32_t* row = parent_map.data + f.border_start;
    require_below(row, m, rows, "parent_map: a row is outside the parent");
    for (int64_t i = 1; i < m; i++) require(row[i - 1] < row[i], "parent_map: rows do not increase");
    start[s] = total;
    total += k * k + k * m;
    largest = std::max(largest, k * k + k * m + k * std::max(k, m));
  }
  require(total == out.size, "inverse: the blocks of the fronts do not add up to their buffer");
  for (int64_t b = 0; b < out.members; b++) {
    Inverse<T> work{tree, start, parent_map.data, factors.data + b * factors.size, out.data + b * out.size, {}, {}, {}};
    work.border.resize(tree.fronts.size());
    work.space = allocate<T>(largest);
    for (const Front& f : tree.fronts) work.waiting.push_back(f.children);
    for (int64_t s = static_cast<int64_t>(tree.fronts.size()) - 1; s >= 0; s--) work.visit(s);
  }
}

ffi::Error inverse_call(ffi::AnyBuffer fronts, ffi::AnyBuffer map, ffi::AnyBuffer factors,
                        ffi::Result<ffi::AnyBuffer> result) {
  return guarded([&] {
    switch (factors.element_type()) {
      case ffi::DataType::F32: return run<float>(fronts, map, factors, *result);
      case ffi::DataType::F64: return run<double>(fronts, map, factors, *result);
      default: throw std::invalid_argument("factors must be float32 or float64");
    }
  });
}

}  // namespace
}  // namespace sparsesolve

SPARSESOLVE_HANDLER(SparsesolveCholeskyInverse, sparsesolve::inverse_call,
                    sparsesolve::results<1>(sparsesolve::operands<3>(xla::ffi::Ffi::Bind())));
