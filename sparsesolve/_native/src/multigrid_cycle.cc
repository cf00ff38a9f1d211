// Products with sparse matrices by rows, and Chebyshev sweeps with them.
//
// Product, y = A x or y = A^T x. Operands: indptr (m + 1), indices (nnz) (int32, not batched); values (..., nnz),
// x (..., n). Attribute: transpose. Result: y (..., m), or (..., n) with x (..., m) when transposed.
//
// Sweep, for A x = b with the interval [lower, upper] of the spectrum of D^-1 A; the recurrence of algorithm 12.1 of
// Y. Saad, Iterative Methods for Sparse Linear Systems (2003). Operands: indptr, indices, values, inverse diagonal
// (..., n), lower (...), upper (...), b (..., n), x (..., n), not read when `from_zero`. Attributes: degree, from_zero,
// residual. Results: x (..., n) and b - A x (..., n), the latter of length 0 unless `residual`.

#include "binding.h"
#include "csr.h"

namespace sparsesolve {
namespace {

template <class T>
void product(const CsrPattern& a, const T* values, const T* x, T* __restrict y, bool transpose) {
  if (!transpose) {
    for (int64_t i = 0; i < a.rows; i++) y[i] = row_product(a, values, x, i);
    return;
  }
  std::fill(y, y + a.columns, T(0));
  for (int64_t i = 0; i < a.rows; i++) {
    const T xi = x[i];
    for (int32_t e = a.indptr[i]; e < a.indptr[i + 1]; e++) y[a.indices[e]] += multiply(values[e], xi);
  }
}

template <class T>
void run_product(ffi::AnyBuffer indptr, ffi::AnyBuffer indices, ffi::AnyBuffer values, ffi::AnyBuffer x,
                 ffi::Result<ffi::AnyBuffer> y, bool transpose) {
  const auto out = view<T>(*y, 1, "y");
  const auto in = view<const T>(x, 1, "x");
  const auto v = view<const T>(values, 1, "values");
  const CsrPattern a(indptr, indices, transpose ? out.size : in.size);
  require(v.size == a.nnz, "values: not one for each entry");
  require(a.rows == (transpose ? in.size : out.size), "x or y: wrong length");
  for (int64_t m = 0; m < out.members; m++) {
    product<T>(a, member(v, out, m), member(in, out, m), out.data + m * out.size, transpose);
  }
}

template <class T>
void sweep(const CsrPattern& a, const T* values, const T* inverse, RealOf<T> lower, RealOf<T> upper, const T* b,
           const T* start, int64_t degree, T* __restrict x, T* residual, T* __restrict step) {
  using R = RealOf<T>;
  const int64_t n = a.rows;
  const R centre = (upper + lower) / 2, half = (upper - lower) / 2, ratio = centre / half;
  R weight = 1 / ratio;
  if (start != nullptr) std::copy(start, start + n, x);
  for (int64_t i = 0; i < n; i++) {
    const T r = start == nullptr ? b[i] : b[i] - row_product(a, values, start, i);
    step[i] = multiply(inverse[i], r) * (1 / centre);
  }
  for (int64_t i = 0; i < n; i++) x[i] = start == nullptr ? step[i] : x[i] + step[i];
  for (int64_t k = 1; k < degree; k++) {
    const R following = 1 / (2 * ratio - weight), old = following * weight, fresh = 2 * following / half;
    for (int64_t i = 0; i < n; i++) {
      step[i] = old * step[i] + fresh * multiply(inverse[i], b[i] - row_product<T>(a, values, x, i));
    }
    for (int64_t i = 0; i < n; i++) x[i] += step[i];
    weight = following;
  }
  if (residual != nullptr) {
    for (int64_t i = 0; i < n; i++) residual[i] = b[i] - row_product<T>(a, values, x, i);
  }
}

template <class T>
void run_sweep(ffi::AnyBuffer indptr, ffi::AnyBuffer indices, ffi::AnyBuffer values, ffi::AnyBuffer inverse,
               ffi::AnyBuffer lower, ffi::AnyBuffer upper, ffi::AnyBuffer b, ffi::AnyBuffer start,
               ffi::Result<ffi::AnyBuffer> x, ffi::Result<ffi::AnyBuffer> residual, int64_t degree, bool from_zero,
               bool with_residual) {
  using R = RealOf<T>;
  const auto out = view<T>(*x, 1, "x"), rest = view<T>(*residual, 1, "residual");
  const auto v = view<const T>(values, 1, "values"), d = view<const T>(inverse, 1, "inverse diagonal");
  const auto rhs = view<const T>(b, 1, "b"), guess = view<const T>(start, 1, "start");
  const auto low = view<const R>(lower, 0, "lower"), high = view<const R>(upper, 0, "upper");
  const CsrPattern a(indptr, indices, out.size);
  require(a.rows == out.size && v.size == a.nnz, "values: the matrix is not square or lacks values");
  require(d.size == a.rows && rhs.size == a.rows, "b or inverse diagonal: wrong length");
  require(from_zero || guess.size == a.rows, "start: wrong length");
  require_same_batch(out, rest, "x and residual: different batches");
  require(rest.size == (with_residual ? a.rows : 0), "residual: wrong length");
  const auto step = allocate<T>(a.rows);
  for (int64_t m = 0; m < out.members; m++) {
    sweep<T>(a, member(v, out, m), member(d, out, m), *member(low, out, m), *member(high, out, m), member(rhs, out, m),
             from_zero ? nullptr : member(guess, out, m), degree, out.data + m * out.size,
             with_residual ? rest.data + m * rest.size : nullptr, step.get());
  }
}

ffi::Error product_call(ffi::AnyBuffer indptr, ffi::AnyBuffer indices, ffi::AnyBuffer values, ffi::AnyBuffer x,
                        ffi::Result<ffi::AnyBuffer> y, bool transpose) {
  return guarded([&] {
    dispatch(y->element_type(),
             [&](auto zero) { run_product<decltype(zero)>(indptr, indices, values, x, y, transpose); });
  });
}

ffi::Error sweep_call(ffi::AnyBuffer indptr, ffi::AnyBuffer indices, ffi::AnyBuffer values, ffi::AnyBuffer inverse,
                      ffi::AnyBuffer lower, ffi::AnyBuffer upper, ffi::AnyBuffer b, ffi::AnyBuffer start,
                      ffi::Result<ffi::AnyBuffer> x, ffi::Result<ffi::AnyBuffer> residual, int64_t degree,
                      bool from_zero, bool with_residual) {
  return guarded([&] {
    dispatch(x->element_type(), [&](auto zero) {
      run_sweep<decltype(zero)>(indptr, indices, values, inverse, lower, upper, b, start, x, residual, degree,
                                from_zero, with_residual);
    });
  });
}

}  // namespace

}  // namespace sparsesolve

SPARSESOLVE_HANDLER(SparsesolveCsrProduct, sparsesolve::product_call,
                    sparsesolve::results<1>(sparsesolve::operands<4>(xla::ffi::Ffi::Bind()))
                        .Attr<bool>("transpose"));

SPARSESOLVE_HANDLER(SparsesolveChebyshevSweep, sparsesolve::sweep_call,
                    sparsesolve::results<2>(sparsesolve::operands<8>(xla::ffi::Ffi::Bind()))
                        .Attr<int64_t>("degree")
                        .Attr<bool>("from_zero")
                        .Attr<bool>("residual"));
