// Multifrontal LU with restricted pivoting: R A C = L U for every member of a batch of matrices with one pattern.
//
// The walk over the fronts is in `assembly.h`, the elimination of one in `front.h`. D, L and Ut are assembled and
// eliminated where they stay: in the factors, k*k + m*k + m*k entries a front, one front after the other.
//
// Operands: see assembly.h.
// Results: factors (..., F), pivots (..., n) int32, row_scale (..., n), col_scale (..., n).
// Reference: I. S. Duff, J. K. Reid, SIAM J. Sci. Stat. Comput. 5 (1984) 633-641, doi:10.1137/0905045.

#include "binding.h"
#include "assembly.h"
#include "front.h"
#include "scaling.h"

namespace sparsesolve {
namespace {

template <class T>
struct Lu {
  T* factors;
  int32_t* pivots;
  RealOf<T>*row_scale, *col_scale;
  RealOf<T> tiny = 0;

  void scale(const FactorTables& t, const T* data, T* scaled) {
    using R = RealOf<T>;
    const R largest = equilibrate<T>(t.n, t.indptr, t.columns, data, scaled, row_scale, col_scale);
    tiny = (largest > 0 ? largest : R(1)) * std::sqrt(std::numeric_limits<R>::epsilon());
  }

  FrontBlocks<T> open(Team& team, const Front& f, T* schur, T*) const {
    const int k = f.pivots, m = f.border;
    T* d = factors + f.factor_start;
    T* l = d + static_cast<int64_t>(k) * k;
    clear(team, d, f.factor_size);
    if (f.children > 0) clear(team, schur, f.schur_size());
    return {k, m, d, l, l + static_cast<int64_t>(k) * m, schur};
  }

  static int64_t entries(const Front& f) { return f.factor_size; }
  static T& entry(const FrontBlocks<T>& blocks, int32_t at) { return blocks.d[at]; }

  static int64_t space(const Front&) { return 0; }

  void eliminate(Team& team, const Front& f, const FrontBlocks<T>& b) const {
    factor_front<T>(team, b.k, b.m, b.d, b.l, b.ut, b.c, pivots + f.first, tiny, f.children == 0);
  }
};

template <class T>
void factor(ffi::ThreadPool& pool, const FactorTables& t, const ffi::AnyBuffer& data_buffer,
            const ffi::AnyBuffer& factor_buffer, const ffi::AnyBuffer& pivot_buffer, const ffi::AnyBuffer& row_buffer,
            const ffi::AnyBuffer& col_buffer) {
  const auto data = view<const T>(data_buffer, 1, "data");
  const auto factors = view<T>(factor_buffer, 1, "factors");
  const auto pivots = view<int32_t>(pivot_buffer, 1, "pivots");
  const auto row_scale = view<RealOf<T>>(row_buffer, 1, "row_scale");
  const auto col_scale = view<RealOf<T>>(col_buffer, 1, "col_scale");
  require(pivots.size == t.n && row_scale.size == t.n && col_scale.size == t.n,
          "pivots and scales must hold one number an unknown");
  const auto make = [&](int64_t b) {
    return Lu<T>{factors.data + b * factors.size, pivots.data + b * t.n, row_scale.data + b * t.n,
                 col_scale.data + b * t.n};
  };
  factor_members<T>(pool, t, data, lu_factor_size, make, factors, pivots, row_scale, col_scale);
}

ffi::Error factor_call(ffi::ThreadPool pool, ffi::AnyBuffer fronts, ffi::AnyBuffer map, ffi::AnyBuffer source,
                       ffi::AnyBuffer target, ffi::AnyBuffer indptr, ffi::AnyBuffer columns, ffi::AnyBuffer data,
                       ffi::Result<ffi::AnyBuffer> factors, ffi::Result<ffi::AnyBuffer> pivots,
                       ffi::Result<ffi::AnyBuffer> row_scale, ffi::Result<ffi::AnyBuffer> col_scale) {
  return guarded([&] {
    const FactorTables t = factor_tables(fronts, map, source, target, indptr, columns);
    dispatch(data.element_type(),
             [&](auto zero) { factor<decltype(zero)>(pool, t, data, *factors, *pivots, *row_scale, *col_scale); });
  });
}

}  // namespace
}  // namespace sparsesolve

SPARSESOLVE_HANDLER(SparsesolveFactor, sparsesolve::factor_call,
                    sparsesolve::results<4>(sparsesolve::bind_factor()));
