// Multifrontal LU with restricted pivoting: R A C = L U for every member of a batch of matrices with one pattern.
//
// Fronts are visited in postorder. Each is assembled from the matrix entries its pivots own and from the Schur
// complements of its children, eliminated (`front.h`), and leaves its own Schur complement on a stack (`tree.h`).
// D, L and Ut are assembled and eliminated where they stay: in the factors, k*k + m*k + m*k entries a front, one front
// after the other.
//
// Operands (int32 unless said otherwise; tables are not batched):
//   fronts (N, 4)         see tree.h
//   parent_map (borders)  place of each border row among the rows of the parent
//   entry_source (nnz)    which matrix value, grouped by front
//   entry_target (nnz)    where in the front's block of the factors it goes
//   indptr (n + 1), columns (nnz)   the pattern, CSR
//   data (..., nnz)       values, of the type of the factors
// Results: factors (..., F), pivots (..., n), row_scale (..., n), col_scale (..., n).
//
// Every table is checked where it is used, before it is used; the checks read what the kernel reads next anyway.
// Reference: I. S. Duff, J. K. Reid, SIAM J. Sci. Stat. Comput. 5 (1984) 633-641, doi:10.1137/0905045.

#include <cstring>

#include "buffers.h"
#include "extend_add.h"
#include "front.h"
#include "pages.h"
#include "scaling.h"

namespace sparsesolve {
namespace {

struct Tables {
  int64_t n, nnz;
  const int32_t *parent_map, *entry_source, *entry_target, *indptr, *columns;
};

void check_pattern(const Tables& t) {
  require(t.indptr[0] == 0 && t.indptr[t.n] == t.nnz, "indptr must run from 0 to the number of entries");
  bool sorted = true;
  for (int64_t i = 0; i < t.n; i++) sorted &= t.indptr[i] <= t.indptr[i + 1];
  require(sorted, "indptr must not decrease");
  require_below(t.columns, t.nnz, t.n, "columns: a column is outside the matrix");
  require_below(t.entry_source, t.nnz, t.nnz, "entry_source: an entry is outside the values");
}

template <class T>
struct Working {
  Workspace<T> scaled, stack;
  Workspace<int32_t> runs, pending;  // pending: fronts whose Schur complement waits for its parent
};

template <class T>
void assemble(const Tables& t, const Tree& tree, const Front& f, const int32_t* children, const Working<T>& work,
              const FrontBlocks<T>& blocks) {
  std::memset(static_cast<void*>(blocks.d), 0, sizeof(T) * f.factor_size());
  if (f.children > 0) std::memset(static_cast<void*>(blocks.c), 0, sizeof(T) * f.schur_size());
  const int32_t* target = t.entry_target + f.entry_start;
  const int32_t* source = t.entry_source + f.entry_start;
  require_below(target, f.entries, f.factor_size(), "entry_target: an entry is outside its front");
  for (int32_t e = 0; e < f.entries; e++) blocks.d[target[e]] += work.scaled[source[e]];
  for (int32_t c = 0; c < f.children; c++) {
    const Front& g = tree.fronts[children[c]];
    const int32_t* map = t.parent_map + g.border_start;
    if (g.border > 0) extend_add<T>(blocks, work.stack.get() + g.schur_start, g.border, map, work.runs.get());
  }
}

template <class T>
void factor_member(const Tables& t, const Tree& tree, const T* data, Working<T>& work, T* factors, int32_t* pivots,
                   RealOf<T>* row_scale, RealOf<T>* col_scale) {
  using R = RealOf<T>;
  const R largest = equilibrate<T>(t.n, t.indptr, t.columns, data, work.scaled.get(), row_scale, col_scale);
  const R tiny = (largest > 0 ? largest : R(1)) * std::sqrt(std::numeric_limits<R>::epsilon());
  const int64_t count = static_cast<int64_t>(tree.fronts.size());
  int64_t pending = 0;
  for (int64_t s = 0; s < count; s++) {
    const Front& f = tree.fronts[s];
    const int k = f.pivots, m = f.border;
    T* d = factors + f.factor_start;
    T* l = d + static_cast<int64_t>(k) * k;
    T* ut = l + static_cast<int64_t>(k) * m;
    const FrontBlocks<T> blocks{k, m, d, l, ut, work.stack.get() + f.schur_start};
    pending -= f.children;
    assemble<T>(t, tree, f, work.pending.get() + pending, work, blocks);
    work.pending[pending++] = static_cast<int32_t>(s);
    factor_front<T>(k, m, d, l, ut, blocks.c, pivots + f.first, tiny, f.children == 0);
  }
}

template <class T>
void factor(const View<const int32_t>& fronts, int64_t borders, const Tables& t, const ffi::AnyBuffer& data_buffer,
            const ffi::AnyBuffer& factor_buffer, const ffi::AnyBuffer& pivot_buffer, const ffi::AnyBuffer& row_buffer,
            const ffi::AnyBuffer& col_buffer) {
  const auto data = view<const T>(data_buffer, 1, "data");
  const auto factors = view<T>(factor_buffer, 1, "factors");
  const auto pivots = view<int32_t>(pivot_buffer, 1, "pivots");
  const auto row_scale = view<RealOf<T>>(row_buffer, 1, "row_scale");
  const auto col_scale = view<RealOf<T>>(col_buffer, 1, "col_scale");
  require(data.size == t.nnz, "data must hold one value an entry of the pattern");
  require(pivots.size == t.n && row_scale.size == t.n && col_scale.size == t.n,
          "pivots and scales must hold one number an unknown");
  const char* batched = "results must be batched like the data";
  require_same_batch(data, factors, batched);
  require_same_batch(data, pivots, batched);
  require_same_batch(data, row_scale, batched);
  require_same_batch(data, col_scale, batched);
  Tree tree = read_tree(fronts.data, fronts.core(0), {t.n, borders, t.nnz, factors.size});
  lay_out_stacks(tree);
  Working<T> work{allocate<T>(t.nnz), allocate<T>(tree.stack_size), allocate<int32_t>(tree.largest_border + 1),
                  allocate<int32_t>(fronts.core(0))};
  prefer_large_pages(factors.data, sizeof(T) * factors.size * factors.members);
  prefer_large_pages(work.stack.get(), sizeof(T) * tree.stack_size);
  for (int64_t b = 0; b < data.members; b++) {
    factor_member<T>(t, tree, data.data + b * t.nnz, work, factors.data + b * factors.size, pivots.data + b * t.n,
                     row_scale.data + b * t.n, col_scale.data + b * t.n);
  }
}

ffi::Error factor_call(ffi::AnyBuffer fronts_buffer, ffi::AnyBuffer map_buffer, ffi::AnyBuffer source_buffer,
                       ffi::AnyBuffer target_buffer, ffi::AnyBuffer indptr_buffer, ffi::AnyBuffer columns_buffer,
                       ffi::AnyBuffer data, ffi::Result<ffi::AnyBuffer> factors, ffi::Result<ffi::AnyBuffer> pivots,
                       ffi::Result<ffi::AnyBuffer> row_scale, ffi::Result<ffi::AnyBuffer> col_scale) {
  return guarded([&] {
    const auto fronts = table(fronts_buffer, 2, "fronts");
    const auto map = table(map_buffer, 1, "parent_map");
    const auto source = table(source_buffer, 1, "entry_source");
    const auto target = table(target_buffer, 1, "entry_target");
    const auto indptr = table(indptr_buffer, 1, "indptr");
    const auto columns = table(columns_buffer, 1, "columns");
    require(fronts.core(1) == 4, "fronts must have four columns");
    require(indptr.size >= 1, "indptr must hold at least one number");
    require(source.size == columns.size && target.size == columns.size, "the entry tables must be equally long");
    const Tables t{indptr.size - 1, columns.size, map.data,    source.data,
                   target.data,     indptr.data,  columns.data};
    check_pattern(t);
    dispatch(data.element_type(), [&](auto zero) {
      factor<decltype(zero)>(fronts, map.size, t, data, *factors, *pivots, *row_scale, *col_scale);
    });
  });
}

}  // namespace
}  // namespace sparsesolve

using xla::ffi::AnyBuffer;

extern "C" __attribute__((visibility("default"))) XLA_FFI_Error* SparsesolveFactor(XLA_FFI_CallFrame*);

XLA_FFI_DEFINE_HANDLER_SYMBOL(SparsesolveFactor, sparsesolve::factor_call,
                              xla::ffi::Ffi::Bind()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Ret<AnyBuffer>()
                                  .Ret<AnyBuffer>()
                                  .Ret<AnyBuffer>()
                                  .Ret<AnyBuffer>());
