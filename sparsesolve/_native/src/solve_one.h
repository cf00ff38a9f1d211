// Solves with the blocks of one front for one right-hand side. D holds L11 and U11 (diagonal inverted), see front.h.

#ifndef SPARSESOLVE_SOLVE_ONE_H_
#define SPARSESOLVE_SOLVE_ONE_H_

#include "front.h"
#include "matvec.h"

namespace sparsesolve {

// y <- L11^-1 y
template <class T>
void solve_lower(int k, const T* d, T* y) {
  for (ptrdiff_t first = 0; first < k; first += kBlock) {
    const ptrdiff_t stop = std::min<ptrdiff_t>(first + kBlock, k);
    for (ptrdiff_t j = first; j < stop; j++) {
      for (ptrdiff_t i = j + 1; i < stop; i++) y[i] -= multiply(d[i + j * k], y[j]);
    }
    subtract_columns<T>(k - stop, stop - first, d + stop + first * k, y + first, y + stop, k);
  }
}

// y <- U11^-1 y
template <class T>
void solve_upper(int k, const T* d, T* y) {
  for (ptrdiff_t first = (k - 1) / kBlock * kBlock; first >= 0; first -= kBlock) {
    const ptrdiff_t stop = std::min<ptrdiff_t>(first + kBlock, k);
    for (ptrdiff_t j = stop - 1; j >= first; j--) {
      y[j] = multiply(y[j], d[j + j * k]);
      for (ptrdiff_t i = first; i < j; i++) y[i] -= multiply(d[i + j * k], y[j]);
    }
    subtract_columns<T>(first, stop - first, d + first * k, y + first, y, k);
  }
}

// y <- U11^-T y
template <class T>
void solve_upper_transposed(int k, const T* d, T* y) {
  for (ptrdiff_t first = 0; first < k; first += kBlock) {
    const ptrdiff_t stop = std::min<ptrdiff_t>(first + kBlock, k);
    subtract_dots<T>(first, stop - first, d + first * k, y, y + first, k);
    for (ptrdiff_t j = first; j < stop; j++) {
      for (ptrdiff_t i = first; i < j; i++) y[j] -= multiply(d[i + j * k], y[i]);
      y[j] = multiply(y[j], d[j + j * k]);
    }
  }
}

// y <- L11^-T y
template <class T>
void solve_lower_transposed(int k, const T* d, T* y) {
  for (ptrdiff_t first = (k - 1) / kBlock * kBlock; first >= 0; first -= kBlock) {
    const ptrdiff_t stop = std::min<ptrdiff_t>(first + kBlock, k);
    subtract_dots<T>(k - stop, stop - first, d + stop + first * k, y + stop, y + first, k);
    for (ptrdiff_t j = stop - 1; j >= first; j--) {
      for (ptrdiff_t i = j + 1; i < stop; i++) y[j] -= multiply(d[i + j * k], y[i]);
    }
  }
}

}  // namespace sparsesolve

#endif  // SPARSESOLVE_SOLVE_ONE_H_
