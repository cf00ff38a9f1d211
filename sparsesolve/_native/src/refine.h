// Solves checked by their true residual: iterative refinement, GMRES with the factors where that fails, and a verdict.
//
//   x <- x + solve(b - A x)   until   |b - A x| <= 2 eps (|A| |x| + |b|)   (infinity norms)
//
// The method, its tolerances and the verdicts are those of `direct/_refine.py` and `direct/_rescue.py`, which serve
// where there are no kernels; there are the references. Here the residual, the norm of A and the comparison are one pass
// over the values, members of a batch end independently of each other, and nothing has to be compiled for a solve.
// What hardly ever runs is in `rescue.cc`, once for all kinds of factors.

#ifndef SPARSESOLVE_REFINE_H_
#define SPARSESOLVE_REFINE_H_

#include <cstring>
#include <functional>
#include <vector>

#include "csr.h"
#include "parallel.h"

namespace sparsesolve {

// Numbers of a status, as in `_native/_calls.py`.
enum Status : int32_t { kSuccessful = 0, kSingular = 1, kInaccurate = 2, kNonfinite = 3 };

constexpr double kSmall = 1e-3;  // residual over right-hand side: up to here nobody doubts a small backward error,
constexpr double kLarge = 0.1;   // up to here it passes unless the matrix is found to be singular

struct RefineLimits {
  int64_t refinements, steps;
};

// The modulus, without overflow for large parts.
template <class T>
inline RealOf<T> modulus(T x) {
  if constexpr (ScalarTraits<T>::is_complex) {
    using R = RealOf<T>;
    const R a = std::abs(x.real()), b = std::abs(x.imag()), most = std::max(a, b), least = std::min(a, b);
    if (!(most > 0) || !std::isfinite(a) || !std::isfinite(b)) return a + b;
    const R ratio = least / most;
    return most * std::sqrt(1 + ratio * ratio);
  } else {
    return std::abs(x);
  }
}

// The larger of two sizes; NaN where one is.
template <class R>
inline R larger_or_nan(R a, R b) {
  return b > a || b != b ? b : a;
}

// Infinity norm; NaN where an entry is. Bits of sizes sort like the sizes, NaN beyond infinity.
template <class T>
RealOf<T> largest(int64_t n, const T* x) {
  using R = RealOf<T>;
  if constexpr (ScalarTraits<T>::is_complex) {
    R most = 0;
    for (int64_t i = 0; i < n; i++) most = larger_or_nan(most, modulus(x[i]));
    return most;
  } else {
    using Bits = std::conditional_t<sizeof(R) == 8, int64_t, int32_t>;
    Bits most = 0;
    for (int64_t i = 0; i < n; i++) {
      Bits bits;
      std::memcpy(&bits, x + i, sizeof(R));
      most = std::max<Bits>(most, bits & std::numeric_limits<Bits>::max());
    }
    R out;
    std::memcpy(&out, &most, sizeof(R));
    return out;
  }
}

// One system A x = b, or A^T x = b, and what has been learnt about it.
template <class T>
struct Equations {
  using R = RealOf<T>;
  const CsrPattern* a;
  const T* data;
  bool transpose;
  const T* rhs;
  R norm = -1, rhs_norm = 0;  // known after the first `measure`

  int64_t n() const { return a->rows; }
  bool finite() const { return std::isfinite(norm) && std::isfinite(rhs_norm); }
  R scale(R x_size) const { return norm * x_size + rhs_norm; }

  // y = A v or A^T v.
  void multiply_by(bool transposed, const T* v, T* y) const {
    if (!transposed) {
      for (int64_t i = 0; i < a->rows; i++) y[i] = row_product(*a, data, v, i);
      return;
    }
    std::fill_n(y, a->columns, T(0));
    for (int64_t i = 0; i < a->rows; i++) {
      for (int32_t e = a->indptr[i]; e < a->indptr[i + 1]; e++) y[a->indices[e]] += multiply(data[e], v[i]);
    }
  }

  // Residual and backward error of x; `size` becomes that of the residual.
  R measure(Team& team, const T* x, T* residual, R& size) {
    if (norm < 0 || norm != norm) {
      rhs_norm = largest(n(), rhs);
      transpose ? columns_with_norm(x, residual) : rows(team, x, residual, true);
    } else if (transpose) {
      multiply_by(true, x, residual);
      for (int64_t i = 0; i < n(); i++) residual[i] = rhs[i] - residual[i];
    } else {
      rows(team, x, residual, false);
    }
    size = largest(n(), residual);
    const R whole = scale(largest(n(), x));
    return size / (whole > 0 ? whole : R(1));
  }

  bool accepts(R error, R size, double small) const {
    const R tolerance = std::pow(std::numeric_limits<R>::epsilon(), R(0.8));
    return error <= tolerance && size <= static_cast<R>(small) * rhs_norm;
  }

 private:
  // Chunks are what the matrix says, and a maximum does not depend on their order.
  void rows(Team& team, const T* x, T* residual, bool with_norm) {
    constexpr int64_t kRows = 8192;
    const int64_t chunks = (n() + kRows - 1) / kRows;
    std::vector<R> most(chunks, R(0));
    team.loop(chunks, [&](int64_t chunk, int) {
      const int64_t end = std::min(n(), (chunk + 1) * kRows);
      for (int64_t i = chunk * kRows; i < end; i++) {
        const int32_t stop = a->indptr[i + 1];
        T sums[2] = {T(0), T(0)};  // two, so that one addition need not wait for the other
        R totals[2] = {R(0), R(0)};
        int32_t e = a->indptr[i];
        for (; e + 1 < stop; e += 2) {
          for (int s = 0; s < 2; s++) {
            sums[s] += multiply(data[e + s], x[a->indices[e + s]]);
            if (with_norm) totals[s] += modulus(data[e + s]);
          }
        }
        if (e < stop) {
          sums[0] += multiply(data[e], x[a->indices[e]]);
          if (with_norm) totals[0] += modulus(data[e]);
        }
        residual[i] = rhs[i] - (sums[0] + sums[1]);
        if (with_norm) most[chunk] = larger_or_nan(most[chunk], totals[0] + totals[1]);
      }
    });
    if (!with_norm) return;
    norm = 0;
    for (const R m : most) norm = larger_or_nan(norm, m);
  }

  void columns_with_norm(const T* x, T* residual) {
    std::vector<R> total(a->columns, R(0));
    std::copy_n(rhs, n(), residual);
    for (int64_t i = 0; i < a->rows; i++) {
      for (int32_t e = a->indptr[i]; e < a->indptr[i + 1]; e++) {
        residual[a->indices[e]] -= multiply(data[e], x[i]);
        total[a->indices[e]] += modulus(data[e]);
      }
    }
    norm = largest(a->columns, total.data());
  }
};

template <class T>
struct Outcome {
  RealOf<T> error;
  int32_t refinements, steps, status;
};

// Solves with the factors: `count` right-hand sides one after the other.
template <class T>
using FactorSolve = std::function<void(int64_t count, const T* rhs, T* x)>;

// Corrects a solution that does not pass; `outcome.error` is its backward error. Defined in `rescue.cc`.
template <class T>
void rescue(Team& team, Equations<T>& equations, const FactorSolve<T>& solve, int64_t most_steps, T* x,
            Outcome<T>& outcome);

extern template void rescue<float>(Team&, Equations<float>&, const FactorSolve<float>&, int64_t, float*, Outcome<float>&);
extern template void rescue<double>(Team&, Equations<double>&, const FactorSolve<double>&, int64_t, double*,
                                    Outcome<double>&);
extern template void rescue<std::complex<float>>(Team&, Equations<std::complex<float>>&,
                                                 const FactorSolve<std::complex<float>>&, int64_t, std::complex<float>*,
                                                 Outcome<std::complex<float>>&);
extern template void rescue<std::complex<double>>(Team&, Equations<std::complex<double>>&,
                                                  const FactorSolve<std::complex<double>>&, int64_t,
                                                  std::complex<double>*, Outcome<std::complex<double>>&);

// Checks `count` solutions of systems that share their factors, one after the other in `x`, and improves them.
template <class T>
void refine(Team& team, std::vector<Equations<T>>& systems, const FactorSolve<T>& solve, const RefineLimits& limits,
            T* x, Outcome<T>* outcomes) {
  using R = RealOf<T>;
  constexpr R kEnough = 2 * std::numeric_limits<R>::epsilon();
  const int64_t count = static_cast<int64_t>(systems.size()), n = count > 0 ? systems[0].n() : 0;
  const Workspace<T> residuals = allocate<T>(count * n);
  T* r = residuals.get();
  Workspace<T> space;
  std::vector<int64_t> active;
  std::vector<R> sizes(count);
  for (int64_t q = 0; q < count; q++) {
    const int64_t slot = static_cast<int64_t>(active.size());
    const R error = systems[q].measure(team, x + q * n, r + slot * n, sizes[q]);
    outcomes[q] = {error, 0, 0, kSuccessful};
    if (error > kEnough && limits.refinements > 0) active.push_back(q);
  }
  for (int64_t step = 1; !active.empty(); step++) {
    const int64_t some = static_cast<int64_t>(active.size());
    if (!space) space = allocate<T>((some + 1) * n);
    T *z = space.get(), *left = z + some * n;  // `some` only shrinks
    solve(some, r, z);
    std::vector<int64_t> going;
    for (int64_t i = 0; i < some; i++) {
      const int64_t q = active[i];
      T *now = z + i * n, *old = x + q * n;
      for (int64_t p = 0; p < n; p++) now[p] += old[p];
      R size;
      const R error = systems[q].measure(team, now, left, size), before = outcomes[q].error;
      outcomes[q].refinements = static_cast<int32_t>(step);
      if (!(error < before)) continue;
      std::copy_n(now, n, old);
      outcomes[q].error = error;
      sizes[q] = size;
      if (error > kEnough && error < before / 2 && step < limits.refinements) {
        std::copy_n(left, n, r + static_cast<int64_t>(going.size()) * n);
        going.push_back(q);
      }
    }
    active.swap(going);
  }
  for (int64_t q = 0; q < count; q++) {
    Equations<T>& e = systems[q];
    if (!e.finite()) {
      outcomes[q].status = kNonfinite;
    } else if (!e.accepts(outcomes[q].error, sizes[q], kSmall)) {
      rescue<T>(team, e, solve, limits.steps, x + q * n, outcomes[q]);
    }
  }
}

// The operands and results of a checked call: indptr, indices, data; errors (...,), counts (..., 3) refinements, steps
// and status.
template <class T>
struct Checked {
  CsrPattern pattern;
  View<const T> data, rhs;
  View<RealOf<T>> errors;
  View<int32_t> counts;
  bool transpose;
  RefineLimits limits;

  Checked(const CsrPattern& pattern_, const ffi::AnyBuffer& data_, const ffi::AnyBuffer& rhs_,
          const ffi::AnyBuffer& errors_, const ffi::AnyBuffer& counts_, bool transpose_, RefineLimits limits_)
      : pattern(pattern_),
        data(view<const T>(data_, 1, "data")),
        rhs(view<const T>(rhs_, 1, "rhs")),
        errors(view<RealOf<T>>(errors_, 0, "errors")),
        counts(view<int32_t>(counts_, 1, "counts")),
        transpose(transpose_),
        limits(limits_) {}

  void check(const View<T>& x) const {
    require(pattern.rows == x.size && pattern.columns == x.size, "the pattern must be as large as the solution");
    require(data.size == pattern.nnz, "data must hold one value an entry of the pattern");
    require_broadcast(data, x.dims, x.batch_rank);
    require_same_batch(errors, x, "results must be batched alike");
    require_same_batch(counts, x, "results must be batched alike");
    require(counts.size == 3, "counts must hold three numbers");
    require(limits.refinements >= 0 && limits.steps >= 0, "the limits must not be negative");
  }

  // Members `first` to `first + count - 1` of the result, which share their factors.
  void run(Team& team, const View<T>& x, int64_t first, int64_t count, const FactorSolve<T>& solve) const {
    std::vector<Equations<T>> systems;
    std::vector<Outcome<T>> outcomes(count);
    for (int64_t q = first; q < first + count; q++) {
      systems.push_back({&pattern, member(data, x, q), transpose, member(rhs, x, q)});
    }
    refine<T>(team, systems, solve, limits, x.data + first * x.size, outcomes.data());
    for (int64_t q = 0; q < count; q++) write(first + q, outcomes[q]);
  }

  void write(int64_t member, const Outcome<T>& outcome) const {
    errors.data[member] = outcome.error;
    int32_t* to = counts.data + 3 * member;
    to[0] = outcome.refinements, to[1] = outcome.steps, to[2] = outcome.status;
  }
};

}  // namespace sparsesolve

#endif  // SPARSESOLVE_REFINE_H_
