// A x = b or A^T x = b from the factors of `factor.cc`, for many right-hand sides and batches of factors (`sweep.h`).
//
//   A x = b:    t = L11^-1 P y1,  y2 -= L t   leaves to root;   x1 = U11^-1 (t - U x2)         root to leaves
//   A^T x = b:  t = U11^-T y1,  y2 -= U^T t   leaves to root;   x1 = P^T L11^-T (t - L^T x2)   root to leaves
//
// Operands: fronts (N, 4), border (borders) place of each border row, parent_map (borders) its place among the rows of the
// parent, row_order (n) and col_order (n) the matrix row and
// column at each place (int32, not batched); factors (..., F), pivots (..., n), row_scale (..., n), col_scale (..., n);
// rhs (..., n). Attribute: transpose. Result: x (..., n).

#include "binding.h"
#include "front.h"
#include "panel.h"
#include "sweep.h"

namespace sparsesolve {
namespace {

// The factors of one member.
template <class T>
struct Lu {
  const T* factors;
  const int32_t* pivots;
  const int32_t *take, *give;
  const RealOf<T>*before, *after;
  bool transpose;

  struct Block {
    int k, m;
    const T *d, *l, *ut;
    const int32_t* pivots;
  };

  Block block(const Front& f) const {
    const T* d = factors + f.factor_start;
    const T* l = d + static_cast<int64_t>(f.pivots) * f.pivots;
    const T* ut = l + static_cast<int64_t>(f.pivots) * f.border;
    const int32_t* rows = pivots + f.first;
    require_below(rows, f.pivots, f.pivots, "pivots: a row is exchanged with one outside its front");
    return {f.pivots, f.border, d, l, ut, rows};
  }

  // Interleaved right-hand sides: the transposes of y and of the border are `group` x k and `group` x m, column-major.
  void forward(Team& team, const Front& f, int group, T* y, T* update) const {
    const Block b = block(f);
    if (!transpose) exchange<T>(b.pivots, b.k, group, y, false);
    const T* below = transpose ? b.ut : b.l;
    if (group == 1) {
      const auto kernel = transpose ? solve_front<T, Triangle::kUpperTransposed> : solve_front<T, Triangle::kLower>;
      kernel(team, b.k, b.m, b.d, below, y, update);
    } else {
      if (transpose) {
        solve_right<T, false>(group, b.k, b.d, 1, b.k, y, group);
      } else {
        solve_right<T, true>(group, b.k, b.d, b.k, 1, y, group);
      }
      subtract_product<T>(team, group, b.m, b.k, y, group, below, b.m, 1, update, group);
    }
  }

  void backward(Team& team, const Front& f, int group, T* y, T* border) const {
    const Block b = block(f);
    const T* beside = transpose ? b.l : b.ut;
    if (group == 1) {
      const auto kernel = transpose ? solve_front<T, Triangle::kLowerTransposed> : solve_front<T, Triangle::kUpper>;
      kernel(team, b.k, b.m, b.d, beside, y, border);
    } else {
      subtract_product<T>(team, group, b.k, b.m, border, group, beside, 1, b.m, y, group);
      if (transpose) {
        solve_right_lower<T, true>(group, b.k, b.d, 1, b.k, y, group);
      } else {
        solve_right_lower<T, false>(group, b.k, b.d, b.k, 1, y, group);
      }
    }
    if (transpose) exchange<T>(b.pivots, b.k, group, y, true);
  }

  void turn(T*, int64_t) const {}
};

template <class T>
void solve(ffi::ThreadPool& pool, const SolveTables& t, const int32_t* row_order, const int32_t* col_order, bool transpose,
           const ffi::AnyBuffer& factor_buffer, const ffi::AnyBuffer& pivot_buffer, const ffi::AnyBuffer& row_buffer,
           const ffi::AnyBuffer& col_buffer, const ffi::AnyBuffer& rhs_buffer, const ffi::AnyBuffer& x_buffer,
           const Checked<T>* checked) {
  using R = RealOf<T>;
  const auto pivots = view<const int32_t>(pivot_buffer, 1, "pivots");
  const auto row_scale = view<const R>(row_buffer, 1, "row_scale");
  const auto col_scale = view<const R>(col_buffer, 1, "col_scale");
  require(pivots.size == t.n && row_scale.size == t.n && col_scale.size == t.n,
          "pivots and scales must hold one number an unknown");
  const auto make = [&](const T* factors, const int32_t* exchanges, const R* rows, const R* cols) {
    if (transpose) return Lu<T>{factors, exchanges, col_order, row_order, cols, rows, true};
    return Lu<T>{factors, exchanges, row_order, col_order, rows, cols, false};
  };
  solve_members<T>(pool, t, lu_factor_size, view<const T>(rhs_buffer, 1, "rhs"), view<T>(x_buffer, 1, "x"), checked,
                   make, view<const T>(factor_buffer, 1, "factors"), pivots, row_scale, col_scale);
}

struct Orders {
  const int32_t *rows, *cols;
  SolveTables tables;
};

Orders orders(const ffi::AnyBuffer& fronts, const ffi::AnyBuffer& border, const ffi::AnyBuffer& parent_map,
              const ffi::AnyBuffer& row_order_buffer, const ffi::AnyBuffer& col_order_buffer) {
  const auto row_order = order_table(row_order_buffer, "row_order", "row_order: a row is outside the matrix");
  const auto col_order = order_table(col_order_buffer, "col_order", "col_order: a column is outside the matrix");
  require(row_order.size == col_order.size, "row_order and col_order must be equally long");
  return {row_order.data, col_order.data, solve_tables(fronts, border, parent_map, row_order.size)};
}

ffi::Error solve_call(ffi::ThreadPool pool, ffi::AnyBuffer fronts, ffi::AnyBuffer border, ffi::AnyBuffer parent_map,
                      ffi::AnyBuffer row_order, ffi::AnyBuffer col_order, ffi::AnyBuffer factors, ffi::AnyBuffer pivots,
                      ffi::AnyBuffer row_scale, ffi::AnyBuffer col_scale, ffi::AnyBuffer rhs,
                      ffi::Result<ffi::AnyBuffer> x, bool transpose) {
  return guarded([&] {
    const Orders o = orders(fronts, border, parent_map, row_order, col_order);
    dispatch(factors.element_type(), [&](auto zero) {
      solve<decltype(zero)>(pool, o.tables, o.rows, o.cols, transpose, factors, pivots, row_scale, col_scale, rhs, *x,
                            nullptr);
    });
  });
}

// The same with the pattern (indptr, indices), the values and the results of `Checked`.
ffi::Error checked_call(ffi::ThreadPool pool, ffi::AnyBuffer fronts, ffi::AnyBuffer border, ffi::AnyBuffer parent_map,
                        ffi::AnyBuffer row_order, ffi::AnyBuffer col_order, ffi::AnyBuffer indptr,
                        ffi::AnyBuffer indices, ffi::AnyBuffer factors, ffi::AnyBuffer pivots,
                        ffi::AnyBuffer row_scale, ffi::AnyBuffer col_scale, ffi::AnyBuffer data, ffi::AnyBuffer rhs,
                        ffi::Result<ffi::AnyBuffer> x, ffi::Result<ffi::AnyBuffer> errors,
                        ffi::Result<ffi::AnyBuffer> counts, bool transpose, int64_t refinements, int64_t steps) {
  return guarded([&] {
    const Orders o = orders(fronts, border, parent_map, row_order, col_order);
    const CsrPattern pattern(indptr, indices, o.tables.n);
    dispatch(factors.element_type(), [&](auto zero) {
      using T = decltype(zero);
      const Checked<T> checked(pattern, data, rhs, *errors, *counts, transpose, {refinements, steps});
      solve<T>(pool, o.tables, o.rows, o.cols, transpose, factors, pivots, row_scale, col_scale, rhs, *x, &checked);
    });
  });
}

}  // namespace
}  // namespace sparsesolve

SPARSESOLVE_HANDLER(SparsesolveSolve, sparsesolve::solve_call,
                    sparsesolve::results<1>(sparsesolve::operands<10>(xla::ffi::Ffi::Bind().Ctx<xla::ffi::ThreadPool>()))
                        .Attr<bool>("transpose"));

SPARSESOLVE_HANDLER(SparsesolveCheckedSolve, sparsesolve::checked_call,
                    sparsesolve::results<3>(sparsesolve::operands<13>(xla::ffi::Ffi::Bind().Ctx<xla::ffi::ThreadPool>()))
                        .Attr<bool>("transpose")
                        .Attr<int64_t>("refinements")
                        .Attr<int64_t>("steps"));
