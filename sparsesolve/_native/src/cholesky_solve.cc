// A x = b from the factors of `cholesky_factor.cc`, for many right-hand sides and batches of factors (`sweep.h`).
//
//   t = L11^-1 P y1,  y2 -= L t   leaves to root;   x1 = P^T L11^-H (B^-1 t - L^H x2)   root to leaves
//
// Without pivoting B = I and P = I. For Hermitian matrices all of y is conjugated between the sweeps, so that the second
// one needs L^T only. L11 is packed by panels of kBlock columns (`symmetric_front.h`).
//
// Operands: fronts (N, 4), border (borders) place of each border row, parent_map (borders) its place among the rows of the
// parent, order (n) the unknown at each place (int32, not batched); factors (..., F), pivots (..., n), below (..., n), scale (..., n); rhs (..., n); pivots and below may have
// length 0, for factors made without pivoting. Attribute: hermitian. Result: x (..., n).

#include "binding.h"
#include "sweep.h"
#include "symmetric_front.h"

namespace sparsesolve {
namespace {

// y <- L11^-1 y or y <- L11^-T y, one panel of L11 after the other; `group` right-hand sides interleaved.
template <class T, bool Unit>
void solve_panels(int k, const T* panels, int group, T* y, bool transpose) {
  constexpr Triangle lower = Unit ? Triangle::kLower : Triangle::kLowerInverted;
  constexpr Triangle upper = Unit ? Triangle::kLowerTransposed : Triangle::kLowerInvertedTransposed;
  const int last = (k - 1) / kBlock * kBlock;
  const T* next = panels + (transpose ? panels_size(k) : 0);
  for (int step = 0; step <= last; step += kBlock) {
    const int first = transpose ? last - step : step, ld = k - first, count = std::min(kBlock, ld), rest = ld - count;
    if (transpose) next -= static_cast<ptrdiff_t>(ld) * count;
    const T *d = next, *below = d + count;
    if (!transpose) next += static_cast<ptrdiff_t>(ld) * count;
    T *here = y + static_cast<ptrdiff_t>(first) * group, *there = here + static_cast<ptrdiff_t>(count) * group;
    if (group == 1 && transpose) {
      if (rest > 0) subtract_dots<T>(rest, count, below, there, here, ld);
      solve_diagonal<T, upper>(count, d, ld, here);
    } else if (group == 1) {
      solve_diagonal<T, lower>(count, d, ld, here);
      if (rest > 0) subtract_columns<T, false>(rest, count, below, here, there, ld);
    } else if (transpose) {
      subtract_product<T>(group, count, rest, there, group, below, 1, ld, here, group);
      solve_right_lower<T, Unit>(group, count, d, 1, ld, here, group);
    } else {
      solve_right<T, Unit>(group, count, d, ld, 1, here, group);
      subtract_product<T>(group, rest, count, here, group, below, ld, 1, there, group);
    }
  }
}

// The factors of one member.
template <class T, bool Pivoting>
struct Symmetric {
  const T* factors;
  const int32_t* pivots;
  const T* offdiagonal;
  const int32_t *take, *give;
  const RealOf<T>*before, *after;
  bool hermitian;

  const int32_t* exchanges(const Front& f) const {
    const int32_t* rows = pivots + f.first;
    require_below(rows, f.pivots, f.pivots, "pivots: a row is exchanged with one outside its front");
    return rows;
  }

  // y <- B^-1 y. A pair of pivots may lie in two panels.
  void divide(const Front& f, const T* panels, int group, T* y) const {
    const T* cross = offdiagonal + f.first;
    for (int first = 0; first < f.pivots; first += kBlock) {
      const int ld = f.pivots - first, stop = std::min(f.pivots, first + kBlock);
      for (int j = first; j < stop; j++) {
        T* x = y + static_cast<ptrdiff_t>(j) * group;
        const T *diagonal = panels + static_cast<ptrdiff_t>(j - first) * (ld + 1);
        const bool pair = j + 1 < f.pivots && cross[j] != T(0), second = j > 0 && cross[j - 1] != T(0);
        if (pair) {
          const T lower = cross[j], upper = hermitian ? conjugate_if<true>(lower) : lower;
          const T other = j + 1 < stop ? diagonal[ld + 1] : diagonal[static_cast<ptrdiff_t>(ld) * (stop - j) - (j - first)];
          for (int r = 0; r < group; r++) {
            const T a = x[r], b = x[r + group];
            x[r] = multiply(*diagonal, a) + multiply(upper, b);
            x[r + group] = multiply(lower, a) + multiply(other, b);
          }
        } else if (!second) {
          for (int r = 0; r < group; r++) x[r] = multiply(*diagonal, x[r]);
        }
      }
      panels += static_cast<ptrdiff_t>(ld) * (stop - first);
    }
  }

  void forward(Team& team, const Front& f, int group, T* y, T* update) const {
    const int k = f.pivots, m = f.border;
    const T *panels = factors + f.factor_start, *l = panels + panels_size(k);
    if constexpr (Pivoting) exchange<T>(exchanges(f), k, group, y, false);
    solve_panels<T, Pivoting>(k, panels, group, y, false);
    if (group == 1) {
      subtract_columns<T>(team, m, k, l, y, update, m);
    } else {
      subtract_product<T>(team, group, m, k, y, group, l, m, 1, update, group);
    }
    if constexpr (Pivoting) divide(f, panels, group, y);
  }

  void backward(Team& team, const Front& f, int group, T* y, const T* border) const {
    const int k = f.pivots, m = f.border;
    const T *panels = factors + f.factor_start, *l = panels + panels_size(k);
    if (group == 1) {
      subtract_dots<T>(team, m, k, l, border, y, m);
    } else {
      subtract_product<T>(team, group, k, m, border, group, l, 1, m, y, group);
    }
    solve_panels<T, Pivoting>(k, panels, group, y, true);
    if constexpr (Pivoting) exchange<T>(exchanges(f), k, group, y, true);
  }

  void turn(T* y, int64_t count) const {
    if constexpr (ScalarTraits<T>::is_complex) {
      for (int64_t i = 0; hermitian && i < count; i++) y[i] = std::conj(y[i]);
    }
  }
};

template <class T, bool Pivoting>
void solve(ffi::ThreadPool& pool, const SolveTables& t, const int32_t* order, bool hermitian,
           const ffi::AnyBuffer& factor_buffer, const ffi::AnyBuffer& pivot_buffer, const ffi::AnyBuffer& below_buffer, const ffi::AnyBuffer& scale_buffer,
           const ffi::AnyBuffer& rhs_buffer, const ffi::AnyBuffer& x_buffer, const Checked<T>* checked) {
  using R = RealOf<T>;
  const auto pivots = view<const int32_t>(pivot_buffer, 1, "pivots");
  const auto below = view<const T>(below_buffer, 1, "below");
  const auto scale = view<const R>(scale_buffer, 1, "scale");
  const int64_t pivoted = Pivoting ? t.n : 0;
  require(pivots.size == pivoted && below.size == pivoted, "pivots and below must hold one number an unknown, or none");
  require(scale.size == t.n, "scale must hold one number an unknown");
  const auto make = [&](const T* factors, const int32_t* exchanges, const T* offdiagonal, const R* scales) {
    return Symmetric<T, Pivoting>{factors, exchanges, offdiagonal, order, order, scales, scales, hermitian};
  };
  solve_members<T>(pool, t, symmetric_factor_size, view<const T>(rhs_buffer, 1, "rhs"), view<T>(x_buffer, 1, "x"),
                   checked, make, view<const T>(factor_buffer, 1, "factors"), pivots, below, scale);
}

// Tables of a call, and whether there were pivots of two.
struct Call {
  View<const int32_t> order;
  SolveTables tables;
  bool pivoting;

  Call(const ffi::AnyBuffer& fronts, const ffi::AnyBuffer& border, const ffi::AnyBuffer& parent_map,
       const ffi::AnyBuffer& order_buffer, const ffi::AnyBuffer& pivots)
      : order(order_table(order_buffer, "order", "order: an unknown is outside the matrix")),
        tables(solve_tables(fronts, border, parent_map, order.size)) {
    require(pivots.dimensions().size() >= 1, "pivots: too few dimensions");
    pivoting = pivots.dimensions().back() > 0;
  }
};

ffi::Error solve_call(ffi::ThreadPool pool, ffi::AnyBuffer fronts, ffi::AnyBuffer border, ffi::AnyBuffer parent_map,
                      ffi::AnyBuffer order, ffi::AnyBuffer factors, ffi::AnyBuffer pivots, ffi::AnyBuffer below,
                      ffi::AnyBuffer scale, ffi::AnyBuffer rhs, ffi::Result<ffi::AnyBuffer> x, bool hermitian) {
  return guarded([&] {
    const Call call(fronts, border, parent_map, order, pivots);
    dispatch(factors.element_type(), [&](auto zero) {
      using T = decltype(zero);
      const auto run = call.pivoting ? solve<T, true> : solve<T, false>;
      run(pool, call.tables, call.order.data, hermitian, factors, pivots, below, scale, rhs, *x, nullptr);
    });
  });
}

// The same with the pattern (indptr, indices), the values and the results of `Checked`. `transpose` concerns the residual
// alone: the factors are of a symmetric matrix, the values perhaps not.
ffi::Error checked_call(ffi::ThreadPool pool, ffi::AnyBuffer fronts, ffi::AnyBuffer border, ffi::AnyBuffer parent_map,
                        ffi::AnyBuffer order, ffi::AnyBuffer indptr, ffi::AnyBuffer indices, ffi::AnyBuffer factors,
                        ffi::AnyBuffer pivots, ffi::AnyBuffer below, ffi::AnyBuffer scale, ffi::AnyBuffer data,
                        ffi::AnyBuffer rhs, ffi::Result<ffi::AnyBuffer> x, ffi::Result<ffi::AnyBuffer> errors,
                        ffi::Result<ffi::AnyBuffer> counts, bool hermitian, bool transpose, int64_t refinements,
                        int64_t steps) {
  return guarded([&] {
    const Call call(fronts, border, parent_map, order, pivots);
    const CsrPattern pattern(indptr, indices, call.tables.n);
    dispatch(factors.element_type(), [&](auto zero) {
      using T = decltype(zero);
      const auto run = call.pivoting ? solve<T, true> : solve<T, false>;
      const Checked<T> checked(pattern, data, rhs, *errors, *counts, transpose, {refinements, steps});
      run(pool, call.tables, call.order.data, hermitian, factors, pivots, below, scale, rhs, *x, &checked);
    });
  });
}

}  // namespace
}  // namespace sparsesolve

SPARSESOLVE_HANDLER(SparsesolveCholeskySolve, sparsesolve::solve_call,
                    sparsesolve::results<1>(sparsesolve::operands<9>(xla::ffi::Ffi::Bind().Ctx<xla::ffi::ThreadPool>()))
                        .Attr<bool>("hermitian"));

SPARSESOLVE_HANDLER(SparsesolveCholeskyChecked, sparsesolve::checked_call,
                    sparsesolve::results<3>(sparsesolve::operands<12>(xla::ffi::Ffi::Bind().Ctx<xla::ffi::ThreadPool>()))
                        .Attr<bool>("hermitian")
                        .Attr<bool>("transpose")
                        .Attr<int64_t>("refinements")
                        .Attr<int64_t>("steps"));
