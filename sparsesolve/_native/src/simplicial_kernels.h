// The two halves of the simplicial LU as functions of a group of matrices side by side or of a single one: defined in
// `simplicial_factor.cc` and `simplicial_solve.cc`, used there and by `simplicial_checked.cc`.

#ifndef SPARSESOLVE_SIMPLICIAL_KERNELS_H_
#define SPARSESOLVE_SIMPLICIAL_KERNELS_H_

#include "lanes.h"
#include "simplicial.h"

namespace sparsesolve {

constexpr int kTogether = 4;  // the most columns that are updated at once

// Scales and factors from values in CSR order. `x` holds kTogether * n values, zero before and after.
template <class L>
void factor_values(const Simplicial& t, const typename L::Value* data, typename L::Size* scale, typename L::Value* x,
                   typename L::Value* factors);

// Solves in place with factors that differ by lane (F the value of L) or that all lanes share (F a number); y in
// elimination order.
template <class L, class F>
void solve_values(const Simplicial& t, const F* factors, bool transpose, typename L::Value* y);

// Right-hand sides in elimination order; `b` and `scale` hold them as they come.
template <class L>
void gather(const Simplicial& t, bool transpose, const typename L::Value* b, const typename L::Size* scale,
            typename L::Value* y) {
  if (transpose) {
    for (int64_t p = 0; p < t.n; p++) y[p] = b[t.col_order[p]];
  } else {
    for (int64_t p = 0; p < t.n; p++) y[p] = L::scaled(b[t.row_order[p]], scale[p]);
  }
}

template <class L>
void scatter(const Simplicial& t, bool transpose, const typename L::Value* y, const typename L::Size* scale,
             typename L::Value* x) {
  if (transpose) {
    for (int64_t p = 0; p < t.n; p++) x[t.row_order[p]] = L::scaled(y[p], scale[p]);
  } else {
    for (int64_t p = 0; p < t.n; p++) x[t.col_order[p]] = y[p];
  }
}

// One matrix and one right-hand side; `y` holds n numbers of working space.
template <class T>
void solve_alone(const Simplicial& t, const T* factors, const RealOf<T>* scale, bool transpose, const T* rhs, T* y,
                 T* x) {
  using One = Lanes<T, 1>;
  gather<One>(t, transpose, rhs, scale, y);
  solve_values<One, T>(t, factors, transpose, y);
  scatter<One>(t, transpose, y, scale, x);
}

#define SPARSESOLVE_SIMPLICIAL_FACTOR(EXTERN, T)                                                               \
  EXTERN template void factor_values<Lanes<T, 1>>(const Simplicial&, const T*, RealOf<T>*, T*, T*);            \
  EXTERN template void factor_values<Lanes<T, kLanes<T>>>(                                                     \
      const Simplicial&, const Lanes<T, kLanes<T>>::Value*, Lanes<T, kLanes<T>>::Size*,                        \
      Lanes<T, kLanes<T>>::Value*, Lanes<T, kLanes<T>>::Value*);
#define SPARSESOLVE_SIMPLICIAL_SOLVE(EXTERN, T)                                                                \
  EXTERN template void solve_values<Lanes<T, 1>, T>(const Simplicial&, const T*, bool, T*);                    \
  EXTERN template void solve_values<Lanes<T, kLanes<T>>, T>(const Simplicial&, const T*, bool,                 \
                                                            Lanes<T, kLanes<T>>::Value*);                      \
  EXTERN template void solve_values<Lanes<T, kLanes<T>>, Lanes<T, kLanes<T>>::Value>(                          \
      const Simplicial&, const Lanes<T, kLanes<T>>::Value*, bool, Lanes<T, kLanes<T>>::Value*);
#define SPARSESOLVE_ALL_SCALARS(WHAT, EXTERN)                                                                  \
  WHAT(EXTERN, float) WHAT(EXTERN, double) WHAT(EXTERN, std::complex<float>) WHAT(EXTERN, std::complex<double>)

SPARSESOLVE_ALL_SCALARS(SPARSESOLVE_SIMPLICIAL_FACTOR, extern)
SPARSESOLVE_ALL_SCALARS(SPARSESOLVE_SIMPLICIAL_SOLVE, extern)

}  // namespace sparsesolve

#endif  // SPARSESOLVE_SIMPLICIAL_KERNELS_H_
