// Residuals and refinement of W systems side by side, each lane for itself (`refine.h` has the method). A lane that does
// not pass is left to the code for single systems, which measures again.

#ifndef SPARSESOLVE_LANES_REFINE_H_
#define SPARSESOLVE_LANES_REFINE_H_

#include "column_update.h"
#include "refine.h"

namespace sparsesolve {

template <class L>
inline typename L::Size lane_modulus(const typename L::Value& x) {
  if constexpr (ScalarTraits<typename L::Scalar>::is_complex) {
    typename L::Size square = x.re * x.re + x.im * x.im;
    for (int i = 0; i < L::kWidth; i++) square[i] = std::sqrt(square[i]);
    return square;
  } else {
    return L::magnitude(x);
  }
}

// The larger of two sizes in each lane; NaN where one is.
template <class S>
inline S lane_larger(S a, S b) {
  return (b > a) | (b != b) ? b : a;
}

// x where a lane is chosen, y elsewhere.
template <class L, class Mask>
inline typename L::Value choose(Mask mask, const typename L::Value& x, const typename L::Value& y) {
  if constexpr (ScalarTraits<typename L::Scalar>::is_complex) {
    return {mask ? x.re : y.re, mask ? x.im : y.im};
  } else {
    return mask ? x : y;
  }
}

// W systems A x = b or A^T x = b: values in CSR order, lane by lane or (D a number) one for all; x, b by lanes.
template <class L, class D>
struct LaneEquations {
  using Value = typename L::Value;
  using Size = typename L::Size;
  using R = RealOf<typename L::Scalar>;
  const CsrPattern& a;
  const D* data;
  bool transpose;
  const Value* rhs;
  Size *column_sums;  // n, for the transpose
  Size norm{}, rhs_norm{};
  bool known = false;

  // Residuals of x, their sizes, and the backward errors.
  Size measure(const Value* x, Value* residual, Size& size) {
    const int64_t n = a.rows;
    if (!known) {
      for (int64_t i = 0; i < n; i++) rhs_norm = lane_larger(rhs_norm, lane_modulus<L>(rhs[i]));
    }
    if (transpose) {
      by_columns(x, residual);
    } else if (known) {
      by_rows<false>(x, residual);
    } else {
      by_rows<true>(x, residual);
    }
    known = true;
    Size x_size{};
    size = Size{};
    for (int64_t i = 0; i < n; i++) {
      size = lane_larger(size, lane_modulus<L>(residual[i]));
      x_size = lane_larger(x_size, lane_modulus<L>(x[i]));
    }
    const Size whole = norm * x_size + rhs_norm;
    return size / (whole > 0 ? whole : whole - whole + R(1));
  }

 private:
  template <bool Norm>
  void by_rows(const Value* x, Value* residual) {
    for (int64_t i = 0; i < a.rows; i++) {
      Value left = rhs[i];
      Size total{};
      for (int32_t e = a.indptr[i]; e < a.indptr[i + 1]; e++) {
        const Value entry = spread<L>(data[e]);
        L::subtract(left, entry, x[a.indices[e]]);
        if (Norm) total += lane_modulus<L>(entry);
      }
      residual[i] = left;
      if (Norm) norm = lane_larger(norm, total);
    }
  }

  void by_columns(const Value* x, Value* residual) {
    std::copy_n(rhs, a.columns, residual);
    std::fill_n(column_sums, known ? 0 : a.columns, Size{});
    for (int64_t i = 0; i < a.rows; i++) {
      const Value factor = x[i];
      for (int32_t e = a.indptr[i]; e < a.indptr[i + 1]; e++) {
        const Value entry = spread<L>(data[e]);
        L::subtract(residual[a.indices[e]], entry, factor);
        if (!known) column_sums[a.indices[e]] += lane_modulus<L>(entry);
      }
    }
    for (int64_t j = 0; !known && j < a.columns; j++) norm = lane_larger(norm, column_sums[j]);
  }
};

// Working space of `refine_lanes`, n values each.
template <class L>
struct LaneSpace {
  Aligned<typename L::Value> residual, trial, trial_residual;
  Aligned<typename L::Size> sums;
  explicit LaneSpace(int64_t n)
      : residual(allocate_aligned<typename L::Value>(n)),
        trial(allocate_aligned<typename L::Value>(n)),
        trial_residual(allocate_aligned<typename L::Value>(n)),
        sums(allocate_aligned<typename L::Size>(n)) {}
};

// Improves x; `solve(b, z)` solves with the factors. Errors and numbers of refinements of the lanes; `passed` says which
// lanes need nothing more.
template <class L, class D, class Solve>
void refine_lanes(LaneEquations<L, D>& equations, int64_t refinements, typename L::Value* x, LaneSpace<L>& space,
                  Outcome<typename L::Scalar>* outcomes, bool* passed, Solve&& solve) {
  using Size = typename L::Size;
  using R = RealOf<typename L::Scalar>;
  constexpr R kEnough = 2 * std::numeric_limits<R>::epsilon();
  const int64_t n = equations.a.rows;
  typename L::Value *r = space.residual.get(), *z = space.trial.get(), *left = space.trial_residual.get();
  Size size;
  Size error = equations.measure(x, r, size);
  auto going = error > kEnough;
  int32_t steps[L::kWidth] = {};
  for (int64_t step = 1; step <= refinements && any_lane(going); step++) {
    solve(r, z);
    for (int64_t i = 0; i < n; i++) z[i] = L::minus(x[i], L::minus(L::zero(), z[i]));
    Size new_size;
    const Size now = equations.measure(z, left, new_size);
    const auto better = going & (now < error);
    for (int64_t i = 0; i < n; i++) {
      x[i] = choose<L>(better, z[i], x[i]);
      r[i] = choose<L>(better, left[i], r[i]);
    }
    for (int l = 0; l < L::kWidth; l++) steps[l] = going[l] ? static_cast<int32_t>(step) : steps[l];
    going = better & (now > kEnough) & (now < error / 2);
    error = better ? now : error;
    size = better ? new_size : size;
  }
  const R tolerance = std::pow(std::numeric_limits<R>::epsilon(), R(0.8));
  for (int l = 0; l < L::kWidth; l++) {
    outcomes[l] = {error[l], steps[l], 0, kSuccessful};
    passed[l] = std::isfinite(equations.norm[l]) && std::isfinite(equations.rhs_norm[l]) && error[l] <= tolerance &&
                size[l] <= R(kSmall) * equations.rhs_norm[l];
  }
}

}  // namespace sparsesolve

#endif  // SPARSESOLVE_LANES_REFINE_H_
