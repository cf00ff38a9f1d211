// A x = b or A^T x = b from the factors of `factor.cc`, for many right-hand sides and batches of factors.
//
//   A x = b:    t = L11^-1 P y1,  y2 -= L t   leaves to root;   x1 = U11^-1 (t - U x2)         root to leaves
//   A^T x = b:  t = U11^-T y1,  y2 -= U^T t   leaves to root;   x1 = P^T L11^-T (t - L^T x2)   root to leaves
//
// The scaled right-hand sides lie in elimination order in one working vector y, `group` of them interleaved:
// y[place * group + r]. The pivots of a front are contiguous there, its border is gathered by the table. One right-hand
// side runs on matrix-vector kernels, several on the products of the factorization, so that the factors are read once.
//
// Operands: fronts (N, 4), border (borders) place of each border row, row_order (n) and col_order (n) the matrix row and
// column at each place (int32, not batched); factors (..., F), pivots (..., n), row_scale (..., n), col_scale (..., n);
// rhs (..., n). Attribute: transpose. Result: x (..., n). Right-hand sides along trailing batch dimensions in which
// the factors have length 1 share them.

#include <cstring>

#include "buffers.h"
#include "solve_one.h"

namespace sparsesolve {
namespace {

constexpr int64_t kGroup = 32;  // right-hand sides solved at once

struct Tables {
  int64_t n;
  const int32_t *border, *row_order, *col_order;
};

template <class T>
struct Factors {
  const T* blocks;
  const int32_t* pivots;
  const RealOf<T>*row_scale, *col_scale;
};

template <class T>
struct Block {
  int k, m;
  const T *d, *l, *ut;
  const int32_t *pivots, *border;
};

template <class T>
Block<T> block_of(const Front& f, const Tables& t, const Factors<T>& factors) {
  const T* d = factors.blocks + f.factor_start;
  const T* l = d + static_cast<int64_t>(f.pivots) * f.pivots;
  const T* ut = l + static_cast<int64_t>(f.pivots) * f.border;
  const int32_t* pivots = factors.pivots + f.first;
  require_below(pivots, f.pivots, f.pivots, "pivots: a row is exchanged with one outside its front");
  return {f.pivots, f.border, d, l, ut, pivots, t.border + f.border_start};
}

template <class T>
void exchange(const Block<T>& b, int group, T* y, bool backwards) {
  for (int i = 0; i < b.k; i++) {
    const int64_t j = backwards ? b.k - 1 - i : i;
    if (b.pivots[j] != j) std::swap_ranges(y + j * group, y + (j + 1) * group, y + int64_t{b.pivots[j]} * group);
  }
}

template <class T>
void forward_one(const Block<T>& b, T* y, T* all, T* work, bool transpose) {
  if (transpose) {
    solve_triangle<T, Triangle::kUpperTransposed>(b.k, b.d, y);
  } else {
    exchange<T>(b, 1, y, false);
    solve_triangle<T, Triangle::kLower>(b.k, b.d, y);
  }
  subtract_columns<T, true>(b.m, b.k, transpose ? b.ut : b.l, y, work, b.m);
  for (int i = 0; i < b.m; i++) all[b.border[i]] += work[i];
}

template <class T>
void backward_one(const Block<T>& b, T* y, const T* all, T* work, bool transpose) {
  for (int i = 0; i < b.m; i++) work[i] = all[b.border[i]];
  subtract_dots<T>(b.m, b.k, transpose ? b.l : b.ut, work, y, b.m);
  if (transpose) {
    solve_triangle<T, Triangle::kLowerTransposed>(b.k, b.d, y);
    exchange<T>(b, 1, y, true);
  } else {
    solve_triangle<T, Triangle::kUpper>(b.k, b.d, y);
  }
}

// Interleaved right-hand sides: the transposes of y and of the border are `group` x k and `group` x m, column-major.
template <class T>
void forward_many(const Block<T>& b, int group, T* y, T* all, T* work, bool transpose) {
  if (transpose) {
    solve_right<T, false>(group, b.k, b.d, 1, b.k, y, group);
  } else {
    exchange<T>(b, group, y, false);
    solve_right<T, true>(group, b.k, b.d, b.k, 1, y, group);
  }
  subtract_product<T>(group, b.m, b.k, y, group, transpose ? b.ut : b.l, b.m, 1, work, group, true);
  for (int64_t i = 0; i < b.m; i++) {
    T* to = all + int64_t{b.border[i]} * group;
    for (int r = 0; r < group; r++) to[r] += work[i * group + r];
  }
}

template <class T>
void backward_many(const Block<T>& b, int group, T* y, const T* all, T* work, bool transpose) {
  for (int64_t i = 0; i < b.m; i++) {
    const T* from = all + int64_t{b.border[i]} * group;
    std::copy(from, from + group, work + i * group);
  }
  subtract_product<T>(group, b.k, b.m, work, group, transpose ? b.l : b.ut, 1, b.m, y, group);
  if (transpose) {
    solve_right_lower<T, true>(group, b.k, b.d, 1, b.k, y, group);
    exchange<T>(b, group, y, true);
  } else {
    solve_right_lower<T, false>(group, b.k, b.d, b.k, 1, y, group);
  }
}

template <class T>
void sweep(const Tree& tree, const Tables& t, const Factors<T>& factors, int group, T* y, T* work, bool transpose) {
  const int64_t count = static_cast<int64_t>(tree.fronts.size());
  for (int64_t s = 0; s < count; s++) {
    const Front& f = tree.fronts[s];
    const Block<T> b = block_of<T>(f, t, factors);
    if (group == 1) {
      forward_one<T>(b, y + f.first, y, work, transpose);
    } else {
      forward_many<T>(b, group, y + f.first * group, y, work, transpose);
    }
  }
  for (int64_t s = count - 1; s >= 0; s--) {
    const Front& f = tree.fronts[s];
    const Block<T> b = block_of<T>(f, t, factors);
    if (group == 1) {
      backward_one<T>(b, y + f.first, y, work, transpose);
    } else {
      backward_many<T>(b, group, y + f.first * group, y, work, transpose);
    }
  }
}

// `group` right-hand sides, one after the other in `rhs` and in `x`.
template <class T>
void solve_group(const Tree& tree, const Tables& t, const Factors<T>& factors, int group, const T* rhs, T* x, T* y,
                 T* work, bool transpose) {
  const int32_t* take = transpose ? t.col_order : t.row_order;
  const int32_t* give = transpose ? t.row_order : t.col_order;
  const RealOf<T>* before = transpose ? factors.col_scale : factors.row_scale;
  const RealOf<T>* after = transpose ? factors.row_scale : factors.col_scale;
  for (int64_t p = 0; p < t.n; p++) {
    for (int r = 0; r < group; r++) y[p * group + r] = rhs[r * t.n + take[p]] * before[take[p]];
  }
  sweep<T>(tree, t, factors, group, y, work, transpose);
  for (int64_t p = 0; p < t.n; p++) {
    for (int r = 0; r < group; r++) x[r * t.n + give[p]] = y[p * group + r] * after[give[p]];
  }
}

// Where each operand's member is for one member of the result.
template <class T>
int64_t member(const View<T>& operand, const int64_t* index, size_t axes) {
  int64_t at = 0;
  for (size_t i = 0; i < axes; i++) at = at * operand.dims[i] + (operand.dims[i] == 1 ? 0 : index[i]);
  for (size_t i = axes; i < operand.batch_rank; i++) at *= operand.dims[i];
  return at;
}

template <class T>
void require_broadcast(const View<T>& operand, const int64_t* dims, size_t rank) {
  bool fits = operand.batch_rank == rank;
  for (size_t i = 0; fits && i < rank; i++) fits = operand.dims[i] == 1 || operand.dims[i] == dims[i];
  require(fits, "operands must have the batch dimensions of the result, or length 1 in their place");
}

template <class T>
struct SolveViews {
  View<const T> factors;
  View<const int32_t> pivots;
  View<const RealOf<T>> row_scale, col_scale;
  View<const T> rhs;
  View<T> x;

  // The leading batch dimensions along which factors differ, or along which the right-hand side is shared.
  size_t outer_rank() const {
    size_t rank = x.batch_rank;
    const auto shared = [&](size_t i) {
      return factors.dims[i] == 1 && pivots.dims[i] == 1 && row_scale.dims[i] == 1 && col_scale.dims[i] == 1 &&
             rhs.dims[i] == x.dims[i];
    };
    while (rank > 0 && shared(rank - 1)) rank--;
    return rank;
  }
};

template <class T>
void check(const SolveViews<T>& v, const Tables& t) {
  require(v.pivots.size == t.n && v.row_scale.size == t.n && v.col_scale.size == t.n,
          "pivots and scales must hold one number an unknown");
  require(v.rhs.size == t.n && v.x.size == t.n, "right-hand side and solution must hold one number an unknown");
  require_broadcast(v.factors, v.x.dims, v.x.batch_rank);
  require_broadcast(v.pivots, v.x.dims, v.x.batch_rank);
  require_broadcast(v.row_scale, v.x.dims, v.x.batch_rank);
  require_broadcast(v.col_scale, v.x.dims, v.x.batch_rank);
  require_broadcast(v.rhs, v.x.dims, v.x.batch_rank);
}

template <class T>
void solve(const View<const int32_t>& fronts, int64_t borders, const Tables& t, const SolveViews<T>& v,
           bool transpose) {
  check(v, t);
  const Tree tree = read_tree(fronts.data, fronts.core(0), {t.n, borders, -1, v.factors.size});
  const size_t axes = v.outer_rank();
  int64_t outer = 1, inner = 1;
  for (size_t i = 0; i < v.x.batch_rank; i++) (i < axes ? outer : inner) *= v.x.dims[i];
  const int64_t group = std::min(inner, kGroup);
  const auto y = allocate<T>(t.n * group);
  const auto work = allocate<T>(tree.largest_border * group);
  std::vector<int64_t> index(axes, 0);
  for (int64_t o = 0; o < outer; o++) {
    const Factors<T> factors{v.factors.data + member(v.factors, index.data(), axes) * v.factors.size,
                             v.pivots.data + member(v.pivots, index.data(), axes) * t.n,
                             v.row_scale.data + member(v.row_scale, index.data(), axes) * t.n,
                             v.col_scale.data + member(v.col_scale, index.data(), axes) * t.n};
    const T* rhs = v.rhs.data + member(v.rhs, index.data(), axes) * t.n;
    T* x = v.x.data + o * inner * t.n;
    for (int64_t r = 0; r < inner; r += group) {
      const int some = static_cast<int>(std::min(group, inner - r));
      solve_group<T>(tree, t, factors, some, rhs + r * t.n, x + r * t.n, y.get(), work.get(), transpose);
    }
    for (size_t i = axes; i-- > 0 && ++index[i] == v.x.dims[i];) index[i] = 0;
  }
}

ffi::Error solve_call(ffi::AnyBuffer fronts_buffer, ffi::AnyBuffer border_buffer, ffi::AnyBuffer row_order_buffer,
                      ffi::AnyBuffer col_order_buffer, ffi::AnyBuffer factors, ffi::AnyBuffer pivots,
                      ffi::AnyBuffer row_scale, ffi::AnyBuffer col_scale, ffi::AnyBuffer rhs,
                      ffi::Result<ffi::AnyBuffer> x, bool transpose) {
  return guarded([&] {
    const auto fronts = table(fronts_buffer, 2, "fronts");
    const auto border = table(border_buffer, 1, "border");
    const auto row_order = table(row_order_buffer, 1, "row_order");
    const auto col_order = table(col_order_buffer, 1, "col_order");
    require(fronts.core(1) == 4, "fronts must have four columns");
    require(row_order.size == col_order.size, "row_order and col_order must be equally long");
    const Tables t{row_order.size, border.data, row_order.data, col_order.data};
    require_below(border.data, border.size, t.n, "border: a row is outside the matrix");
    require_below(row_order.data, t.n, t.n, "row_order: a row is outside the matrix");
    require_below(col_order.data, t.n, t.n, "col_order: a column is outside the matrix");
    dispatch(factors.element_type(), [&](auto zero) {
      using T = decltype(zero);
      solve<T>(fronts, border.size, t,
               {view<const T>(factors, 1, "factors"), view<const int32_t>(pivots, 1, "pivots"),
                view<const RealOf<T>>(row_scale, 1, "row_scale"), view<const RealOf<T>>(col_scale, 1, "col_scale"),
                view<const T>(rhs, 1, "rhs"), view<T>(*x, 1, "x")},
               transpose);
    });
  });
}

}  // namespace
}  // namespace sparsesolve

using xla::ffi::AnyBuffer;

extern "C" __attribute__((visibility("default"))) XLA_FFI_Error* SparsesolveSolve(XLA_FFI_CallFrame*);

XLA_FFI_DEFINE_HANDLER_SYMBOL(SparsesolveSolve, sparsesolve::solve_call,
                              xla::ffi::Ffi::Bind()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Arg<AnyBuffer>()
                                  .Ret<AnyBuffer>()
                                  .Attr<bool>("transpose"));
