// The products of large complex blocks go to a BLAS whose addresses are given at run time (SciPy's own, see `_load.py`), so the
// library links to none. Without addresses every product runs on the kernels of `product.h`.

#ifndef SPARSESOLVE_BLAS_H_
#define SPARSESOLVE_BLAS_H_

#include <complex>

namespace sparsesolve {

// ?gemm(transa, transb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc), 32-bit integers.
template <class T>
using Gemm = void (*)(const char*, const char*, const int*, const int*, const int*, const T*, const T*, const int*,
                      const T*, const int*, const T*, T*, const int*);

struct Blas {
  Gemm<float> s = nullptr;
  Gemm<double> d = nullptr;
  Gemm<std::complex<float>> c = nullptr;
  Gemm<std::complex<double>> z = nullptr;
};

// Written once, when the library is loaded, before any kernel can run.
extern Blas blas;

template <class T>
inline Gemm<T> blas_gemm();
template <>
inline Gemm<float> blas_gemm<float>() { return blas.s; }
template <>
inline Gemm<double> blas_gemm<double>() { return blas.d; }
template <>
inline Gemm<std::complex<float>> blas_gemm<std::complex<float>>() { return blas.c; }
template <>
inline Gemm<std::complex<double>> blas_gemm<std::complex<double>>() { return blas.z; }

}  // namespace sparsesolve

#endif  // SPARSESOLVE_BLAS_H_
