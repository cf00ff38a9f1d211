// What happens when refinement fails: GMRES with the factors as preconditioner, then a verdict (`direct/_rescue.py` has
// the method and its references). GMRES takes the form of GCR, as in `krylov/_gcr.py`.

#include "refine.h"

namespace sparsesolve {
namespace {

constexpr int64_t kCycle = 50;           // steps of a cycle, fewer where two vectors a step would take more room than
constexpr int64_t kRoom = int64_t{1} << 23;  // so many numbers
constexpr double kCycleTolerance = 1e-6;     // the next cycle starts from the true residual
constexpr double kStalled = 0.95;

template <class T>
RealOf<T> length(int64_t n, const T* x) {
  using R = RealOf<T>;
  const R most = largest(n, x);
  if (!(most > 0) || !std::isfinite(most)) return most;
  R sum = 0;
  for (int64_t i = 0; i < n; i++) {
    const R part = modulus(x[i]) / most;
    sum += part * part;
  }
  return most * std::sqrt(sum);
}

template <class T>
T inner(int64_t n, const T* a, const T* b) {
  T sum(0);
  for (int64_t i = 0; i < n; i++) {
    if constexpr (ScalarTraits<T>::is_complex) {
      sum += multiply(std::conj(a[i]), b[i]);
    } else {
      sum += a[i] * b[i];
    }
  }
  return sum;
}

template <class T>
void subtract(int64_t n, T factor, const T* x, T* y) {
  for (int64_t i = 0; i < n; i++) y[i] -= multiply(factor, x[i]);
}

template <class T>
void scale(int64_t n, RealOf<T> factor, T* x) {
  for (int64_t i = 0; i < n; i++) x[i] *= factor;
}

// What a cycle found: `update` solves A update = residual as well as it could, `null` is what A shortens most.
template <class T>
struct Cycle {
  std::vector<T> update, null;
  int64_t steps = 0;
};

template <class T>
Cycle<T> gcr_cycle(const Equations<T>& e, const FactorSolve<T>& solve, std::vector<T> residual, RealOf<T> target,
                   int64_t most_steps) {
  using R = RealOf<T>;
  const int64_t n = e.n();
  const R eps = std::numeric_limits<R>::epsilon();
  Cycle<T> out{std::vector<T>(n, T(0)), std::vector<T>(n, T(0))};
  std::vector<std::vector<T>> images, directions;
  std::vector<T> next = residual;
  R size = length(n, residual.data()), best = std::numeric_limits<R>::infinity();
  for (bool broken = false; size > target && out.steps < most_steps && !broken; out.steps++) {
    std::vector<T> z(n), q(n);
    solve(1, next.data(), z.data());
    e.multiply_by(e.transpose, z.data(), q.data());
    const R before = length(n, q.data()), reach = length(n, z.data());
    for (int pass = 0; pass < 2; pass++) {
      for (size_t j = 0; j < images.size(); j++) {
        const T along = inner(n, images[j].data(), q.data());
        subtract(n, along, images[j].data(), q.data());
        subtract(n, along, directions[j].data(), z.data());
      }
    }
    const R tail = length(n, q.data()), whole = length(n, z.data());
    const bool sound = whole > R(1e-3) * reach;  // otherwise what is left of z is rounding
    const R shortened = sound ? tail / whole : std::numeric_limits<R>::infinity();
    broken = !(tail > 100 * eps * before);
    scale<T>(n, 1 / (broken ? R(1) : tail), z.data());
    if (shortened < best) {
      best = shortened;
      out.null = z;
    }
    if (broken) continue;
    scale<T>(n, 1 / tail, q.data());
    const T along = inner(n, q.data(), residual.data());
    subtract(n, along, q.data(), residual.data());
    subtract(n, -along, z.data(), out.update.data());
    const R now = length(n, residual.data());
    next = now > R(kStalled) * size ? q : residual;
    size = now;
    images.push_back(std::move(q));
    directions.push_back(std::move(z));
  }
  const R whole = length(n, out.null.data());
  scale<T>(n, 1 / (whole > 0 ? whole : R(1)), out.null.data());
  return out;
}

// max_i |A v|_i / (|A D^-1| 1)_i for v scaled to |D v| = 1, D holding the largest entries of the columns; infinite for v
// zero or not finite.
template <class T>
RealOf<T> null_ratio(const Equations<T>& e, bool transpose, const T* v) {
  using R = RealOf<T>;
  const CsrPattern& a = *e.a;
  const int64_t n = e.n();
  const R infinite = std::numeric_limits<R>::infinity();
  std::vector<R> column(n, R(0)), bound(n, R(0));
  R most = 0;
  const auto visit = [&](auto&& entry) {
    for (int64_t i = 0; i < n; i++) {
      for (int32_t k = a.indptr[i]; k < a.indptr[i + 1]; k++) {
        const int64_t row = transpose ? a.indices[k] : i, col = transpose ? i : a.indices[k];
        entry(row, col, modulus(e.data[k]));
      }
    }
  };
  visit([&](int64_t, int64_t col, R size) {
    column[col] = std::max(column[col], size);
    most = std::max(most, size);
  });
  R whole = 0;
  for (int64_t j = 0; j < n; j++) {
    if (!(column[j] > 0)) column[j] = most;  // a zero column: its unit vector is a null vector
    whole = larger_or_nan(whole, column[j] * modulus(v[j]));
  }
  if (!(whole > 0) || !std::isfinite(whole)) return infinite;
  std::vector<T> direction(v, v + n), image(n);
  scale<T>(n, 1 / whole, direction.data());
  e.multiply_by(transpose, direction.data(), image.data());
  visit([&](int64_t row, int64_t col, R size) { bound[row] += size / (column[col] > 0 ? column[col] : R(1)); });
  R ratio = 0;
  for (int64_t i = 0; i < n; i++) {
    ratio = larger_or_nan(ratio, modulus(image[i]) / (bound[i] > 0 ? bound[i] : R(1)));
  }
  return std::isfinite(ratio) ? ratio : infinite;
}

}  // namespace

template <class T>
void rescue(Team& team, Equations<T>& e, const FactorSolve<T>& solve, int64_t most_steps, T* x, Outcome<T>& outcome) {
  using R = RealOf<T>;
  const int64_t n = e.n();
  const R eps = std::numeric_limits<R>::epsilon(), infinite = std::numeric_limits<R>::infinity();
  std::vector<T> residual(n), best(n, T(0)), best_residual(e.rhs, e.rhs + n), null(n, T(0)), trial(n);
  R start_size, size = e.rhs_norm, error = 1;
  const R start_error = e.measure(team, x, residual.data(), start_size);
  if (start_size < R(kSmall) * e.rhs_norm) {  // false for NaN too
    best.assign(x, x + n);
    best_residual = residual;
    size = start_size, error = start_error;
  }
  const int64_t steps_a_cycle =
      std::min(std::min(kCycle, std::max<int64_t>(8, kRoom / n)), std::max<int64_t>(1, most_steps));
  int64_t steps = 0;
  for (bool going = most_steps > 0; going;) {
    std::vector<T> start = best_residual;
    scale<T>(n, 1 / size, start.data());
    const R target = std::min(R(0.5), std::max(R(kCycleTolerance), eps * e.scale(largest(n, best.data())) / size));
    Cycle<T> found = gcr_cycle<T>(e, solve, std::move(start), target, std::min(steps_a_cycle, n));
    for (int64_t i = 0; i < n; i++) trial[i] = best[i] + found.update[i] * size;
    R now_size;
    const R now = e.measure(team, trial.data(), residual.data(), now_size);
    steps += found.steps;
    null = std::move(found.null);
    going = now > 2 * eps && now < error / 2 && steps + steps_a_cycle <= most_steps;
    if (now < error) {
      best = trial;
      best_residual = residual;
      size = now_size, error = now;
    }
  }
  const R right = null_ratio(e, e.transpose, null.data());
  const R left = null_ratio(e, !e.transpose, best_residual.data());
  const R ratio = std::min(right, left);
  if (start_size <= size) {
    size = start_size, error = start_error;
  } else {
    std::copy_n(best.data(), n, x);
  }
  outcome.error = error;
  outcome.steps = static_cast<int32_t>(steps);
  const bool passed =
      e.accepts(error, size, kSmall) || (e.accepts(error, size, kLarge) && ratio > 100 * eps);
  const bool certified = ratio < infinite && ratio <= std::pow(eps, R(0.75));
  outcome.status = passed ? kSuccessful : certified ? kSingular : kInaccurate;
}

template void rescue<float>(Team&, Equations<float>&, const FactorSolve<float>&, int64_t, float*, Outcome<float>&);
template void rescue<double>(Team&, Equations<double>&, const FactorSolve<double>&, int64_t, double*, Outcome<double>&);
template void rescue<std::complex<float>>(Team&, Equations<std::complex<float>>&,
                                          const FactorSolve<std::complex<float>>&, int64_t, std::complex<float>*,
                                          Outcome<std::complex<float>>&);
template void rescue<std::complex<double>>(Team&, Equations<std::complex<double>>&,
                                           const FactorSolve<std::complex<double>>&, int64_t, std::complex<double>*,
                                           Outcome<std::complex<double>>&);

}  // namespace sparsesolve
