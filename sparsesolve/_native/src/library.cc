// What the loader calls before any kernel: the addresses of a BLAS, and whether this processor can run the library.

#include "blas.h"
#include "parallel.h"

namespace sparsesolve {
Blas blas;
std::atomic<int> thread_limit{0};
}

#define SPARSESOLVE_EXPORT extern "C" __attribute__((visibility("default")))

SPARSESOLVE_EXPORT void sparsesolve_set_blas(void* s, void* d, void* c, void* z) {
  using namespace sparsesolve;
  blas.s = reinterpret_cast<Gemm<float>>(s);
  blas.d = reinterpret_cast<Gemm<double>>(d);
  blas.c = reinterpret_cast<Gemm<std::complex<float>>>(c);
  blas.z = reinterpret_cast<Gemm<std::complex<double>>>(z);
}

// The most threads a call may use; zero for as many as XLA has.
SPARSESOLVE_EXPORT void sparsesolve_set_threads(int most) { sparsesolve::thread_limit.store(most); }

// Zero when the library uses instructions that this processor lacks (built elsewhere with -march=native).
SPARSESOLVE_EXPORT int sparsesolve_processor_fits() {
#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
  __builtin_cpu_init();
#if defined(__AVX__)
  if (!__builtin_cpu_supports("avx")) return 0;
#endif
#if defined(__AVX2__)
  if (!__builtin_cpu_supports("avx2")) return 0;
#endif
#if defined(__FMA__)
  if (!__builtin_cpu_supports("fma")) return 0;
#endif
#if defined(__BMI2__)
  if (!__builtin_cpu_supports("bmi2")) return 0;
#endif
#if defined(__AVX512F__)
  if (!__builtin_cpu_supports("avx512f")) return 0;
#endif
#if defined(__AVX512VL__)
  if (!__builtin_cpu_supports("avx512vl")) return 0;
#endif
#if defined(__AVX512BW__)
  if (!__builtin_cpu_supports("avx512bw")) return 0;
#endif
#if defined(__AVX512DQ__)
  if (!__builtin_cpu_supports("avx512dq")) return 0;
#endif
#endif
  return 1;
}
