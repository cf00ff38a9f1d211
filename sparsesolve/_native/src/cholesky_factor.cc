// Multifrontal factorization of symmetric and Hermitian matrices: S A S = L L^H, or P-wise L B L^T with pivots of one and
// two, for every member of a batch of matrices with one pattern.
//
// The walk over the fronts is in `assembly.h`, the elimination of one in `cholesky_front.h` and `ldlt_front.h`. Values of
// the full matrix are handed over; of entries (i, j) and (j, i) the one below the diagonal in elimination order is
// read. Factors of a front: see `symmetric_front.h`.
//
// Operands: see assembly.h; entry_target counts D (k x k) and then L (m x k).
// Attributes: pivoting (L B L^T instead of L L^H), hermitian (or else symmetric, which differs for complex numbers).
// Results: factors (..., F), pivots (..., n) int32 and below (..., n), both of length 0 without pivoting, scale (..., n),
// found (..., 2) int32: negative pivots, perturbed pivots.

#include "binding.h"
#include "assembly.h"
#include "ldlt_front.h"
#include "scaling.h"

namespace sparsesolve {
namespace {

enum class Kind { kCholesky, kSymmetric, kHermitian };

template <class T, Kind kind>
struct Symmetric {
  T* factors;
  int32_t* pivots;
  T* below;
  RealOf<T>* scales;
  int32_t* found;
  PivotCheck<T> thresholds{};

  void scale(const FactorTables& t, const T* data, T* scaled) {
    using R = RealOf<T>;
    constexpr bool definite = kind == Kind::kCholesky;
    constexpr R eps = std::numeric_limits<R>::epsilon();
    const R largest = equilibrate_symmetric<T>(t.n, t.indptr, t.columns, data, definite, scaled, scales);
    thresholds.noise = 16 * eps;
    thresholds.tiny = (definite || !(largest > 0) ? R(1) : largest) * std::sqrt(eps);
    found[0] = found[1] = 0;
  }

  // The pivot block where it is not eliminated in place, then the second operand of the products.
  static int64_t block_space(int64_t k) { return k > kBlock ? k * k : 0; }
  static int64_t space(const Front& f) {
    const bool product = kind != Kind::kCholesky || ScalarTraits<T>::is_complex;
    return block_space(f.pivots) + (product ? int64_t{f.pivots} * std::max(f.border, kPanel + 2) : 0);
  }

  LowerBlocks<T> open(Team& team, const Front& f, T* schur, T* space) const {
    const int64_t k = f.pivots, m = f.border, block = block_space(k);
    T *packed = factors + f.factor_start, *l = packed + panels_size(k), *d = block > 0 ? space : packed;
    clear(team, d, k * k);
    clear(team, l, k * m);
    if (f.children > 0) clear(team, schur, f.schur_size());
    return {f.pivots, f.border, d, l, schur, space + block};
  }

  static int64_t entries(const Front& f) { return static_cast<int64_t>(f.pivots) * (f.pivots + f.border); }

  static T& entry(const LowerBlocks<T>& b, int32_t at) {
    const int64_t beyond = at - static_cast<int64_t>(b.k) * b.k;
    return beyond < 0 ? b.d[at] : b.l[beyond];
  }

  void eliminate(Team& team, const Front& f, const LowerBlocks<T>& b) const {
    const bool fresh = f.children == 0;
    PivotCheck<T> check = thresholds;
    if constexpr (kind == Kind::kCholesky) {
      cholesky_front<T>(team, b.k, b.m, b.d, b.l, b.c, b.space, check, fresh);
    } else {
      ldlt_front<T, kind == Kind::kHermitian>(team, b.k, b.m, b.d, b.l, b.c, b.space, pivots + f.first,
                                              below + f.first, check, fresh);
    }
    if (b.k > kBlock) pack_panels<T>(b.k, b.d, factors + f.factor_start);
    if (check.negative > 0) __atomic_fetch_add(&found[0], check.negative, __ATOMIC_RELAXED);
    if (check.perturbed > 0) __atomic_fetch_add(&found[1], check.perturbed, __ATOMIC_RELAXED);
  }
};

template <class T, Kind kind>
void factor(ffi::ThreadPool& pool, const FactorTables& t, const ffi::AnyBuffer& data_buffer,
            const ffi::AnyBuffer& factor_buffer, const ffi::AnyBuffer& pivot_buffer, const ffi::AnyBuffer& below_buffer,
            const ffi::AnyBuffer& scale_buffer, const ffi::AnyBuffer& found_buffer) {
  const auto data = view<const T>(data_buffer, 1, "data");
  const auto factors = view<T>(factor_buffer, 1, "factors");
  const auto pivots = view<int32_t>(pivot_buffer, 1, "pivots");
  const auto below = view<T>(below_buffer, 1, "below");
  const auto scale = view<RealOf<T>>(scale_buffer, 1, "scale");
  const auto found = view<int32_t>(found_buffer, 1, "found");
  const int64_t pivoted = kind == Kind::kCholesky ? 0 : t.n;
  require(pivots.size == pivoted && below.size == pivoted, "pivots and below must hold one number an unknown, or none");
  require(scale.size == t.n, "scale must hold one number an unknown");
  require(found.size == 2, "found must hold two numbers");
  const auto make = [&](int64_t b) {
    return Symmetric<T, kind>{factors.data + b * factors.size, pivots.data + b * pivoted, below.data + b * pivoted,
                              scale.data + b * t.n, found.data + 2 * b};
  };
  factor_members<T>(pool, t, data, symmetric_factor_size, make, factors, pivots, below, scale, found);
}

ffi::Error factor_call(ffi::ThreadPool pool, ffi::AnyBuffer fronts, ffi::AnyBuffer map, ffi::AnyBuffer source,
                       ffi::AnyBuffer target, ffi::AnyBuffer indptr, ffi::AnyBuffer columns, ffi::AnyBuffer data,
                       ffi::Result<ffi::AnyBuffer> factors, ffi::Result<ffi::AnyBuffer> pivots,
                       ffi::Result<ffi::AnyBuffer> below, ffi::Result<ffi::AnyBuffer> scale,
                       ffi::Result<ffi::AnyBuffer> found, bool pivoting, bool hermitian) {
  return guarded([&] {
    const FactorTables t = factor_tables(fronts, map, source, target, indptr, columns);
    dispatch(data.element_type(), [&](auto zero) {
      using T = decltype(zero);
      const auto run = !pivoting   ? factor<T, Kind::kCholesky>
                       : hermitian ? factor<T, Kind::kHermitian>
                                   : factor<T, Kind::kSymmetric>;
      run(pool, t, data, *factors, *pivots, *below, *scale, *found);
    });
  });
}

}  // namespace
}  // namespace sparsesolve

SPARSESOLVE_HANDLER(SparsesolveCholeskyFactor, sparsesolve::factor_call,
                    sparsesolve::results<5>(sparsesolve::bind_factor())
                        .Attr<bool>("pivoting")
                        .Attr<bool>("hermitian"));
