// Partial L D L^T (or L D L^H) of one symmetric indefinite front: D = P^T L11 B L11^T P with blocks of one and two pivots.
//
// Pivots are chosen by Bunch and Kaufman inside the pivot block only, so the structure of the factors does not depend on
// the values. Columns are brought up to date when they are looked at, panels of kPanel columns change the rest at once:
// W = L B holds the columns of a panel before the division. A pivot smaller than `tiny` is moved to that size. In place of
// B its inverse is stored: the diagonal in D, entries below it in `below`, zero for single pivots. L11 is unit lower.
// References: J. R. Bunch, L. Kaufman, Math. Comp. 31 (1977) 163-179, doi:10.2307/2005787; LAPACK's dlasyf for the panels.
// Cost: that of `cholesky_front.h` and k m more. Layout: `symmetric_front.h`.

#ifndef SPARSESOLVE_LDLT_FRONT_H_
#define SPARSESOLVE_LDLT_FRONT_H_

#include "cholesky_front.h"
#include "matvec.h"

namespace sparsesolve {

constexpr int kPanel = 32;

// The pivot block while it is factorized. `Hermitian`: the matrix equals its conjugate transpose.
template <class T, bool Hermitian>
struct PivotBlock {
  int k;
  T* a;             // k x k
  T* w;             // k x (kPanel + 2): the columns of the panel
  int32_t* pivots;  // (k) the row each row was exchanged with
  T* below;         // (k)
  PivotCheck<T>& check;
  int start = 0;    // of the panel

  T& at(int i, int j) { return a[i + static_cast<ptrdiff_t>(j) * k]; }
  T* column(int j) { return w + static_cast<ptrdiff_t>(j - start) * k; }
  static T mirrored(T x) { return conjugate_if<Hermitian>(x); }

  // Row and column `r` of what is left at pivot `j`, brought up to date, into `to`.
  void update(int r, int j, T* to) {
    for (int i = j; i < r; i++) to[i] = mirrored(at(r, i));
    std::copy(&at(r, r), &at(r, r) + (k - r), to + r);
    T factors[kPanel + 2];
    for (int p = start; p < j; p++) factors[p - start] = mirrored(column(p)[r]);
    if (j > start) subtract_columns<T, false>(k - j, j - start, &at(j, start), factors, to + j, k);
    if constexpr (Hermitian && ScalarTraits<T>::is_complex) to[r] = std::real(to[r]);
  }

  // Place of the largest entry of a column from `j` on, without row `skip`; k if there is none.
  int largest(const T* x, int j, int skip, RealOf<T>& size) const {
    int found = k;
    size = 0;
    for (int i = j; i < k; i++) {
      if (i != skip && magnitude(x[i]) > size) size = magnitude(x[i]), found = i;
    }
    return found;
  }

  void exchange(int p, int q, int last) {
    pivots[p] = q;
    if (p == q) return;
    std::swap(at(p, p), at(q, q));
    for (int i = q + 1; i < k; i++) std::swap(at(i, p), at(i, q));
    for (int i = p + 1; i < q; i++) {
      const T x = at(i, p);
      at(i, p) = mirrored(at(q, i));
      at(q, i) = mirrored(x);
    }
    at(q, p) = mirrored(at(q, p));
    for (int c = 0; c < p; c++) std::swap(at(p, c), at(q, c));
    for (int c = start; c <= last; c++) std::swap(column(c)[p], column(c)[q]);
  }

  // One or two pivots at j. Returns how many.
  int step(int j) {
    constexpr RealOf<T> alpha = 0.6403882032022076;  // (1 + sqrt(17)) / 8
    T* first = column(j);
    update(j, j, first);
    RealOf<T> largest_below, largest_beside;
    const int r = largest(first, j, j, largest_below);
    const RealOf<T> here = magnitude(first[j]);
    int exchange_with = j;
    if (r < k && here < alpha * largest_below) {
      T* second = column(j + 1);
      update(r, j, second);
      largest(second, j, r, largest_beside);
      if (here * largest_beside < alpha * largest_below * largest_below) {
        if (magnitude(second[r]) < alpha * largest_beside) {
          pivots[j] = j;
          exchange(j + 1, r, j + 1);
          return pair(j);
        }
        std::copy(second + j, second + k, first + j);
        exchange_with = r;
      }
    }
    exchange(j, exchange_with, j);
    return single(j);
  }

  int single(int j) {
    T* x = column(j);
    const T pivot = away_from_zero(x[j], check.tiny);
    check.perturbed += pivot != x[j];
    if (Hermitian) check.negative += std::real(pivot) < 0;
    x[j] = pivot;
    const T inverse = T(1) / pivot;
    for (int i = j + 1; i < k; i++) at(i, j) = multiply(x[i], inverse);
    at(j, j) = inverse;
    below[j] = T(0);
    return 1;
  }

  int pair(int j) {
    T *x = column(j), *y = column(j + 1);
    const T a00 = x[j], a10 = x[j + 1], a11 = y[j + 1];
    // Divided by the entry beside the diagonal, the largest of the three by the choice of pivots.
    const T p = a00 / a10, q = a11 / mirrored(a10);
    const T scale = T(1) / (multiply(p, q) - T(1));
    const T i00 = multiply(scale, q) / a10, i11 = multiply(scale, p) / mirrored(a10);
    const T i10 = -scale / mirrored(a10);
    if (Hermitian) check.negative += std::real(scale) < 0 ? 1 : (std::real(a00) < 0 ? 2 : 0);
    for (int i = j + 2; i < k; i++) {
      at(i, j) = multiply(x[i], i00) + multiply(y[i], i10);
      at(i, j + 1) = multiply(x[i], mirrored(i10)) + multiply(y[i], i11);
    }
    at(j, j) = i00, at(j + 1, j + 1) = i11, at(j + 1, j) = T(0);
    below[j] = i10, below[j + 1] = T(0);
    return 2;
  }

  void factor(Team& team) {
    for (int j = 0; j < k; start = j) {
      start = j;
      while (j < k && j - start < kPanel) j += step(j);
      if (j == k) break;
      if constexpr (Hermitian && ScalarTraits<T>::is_complex) {
        for (int c = start; c < j; c++) {
          for (int i = j; i < k; i++) column(c)[i] = std::conj(column(c)[i]);
        }
      }
      subtract_lower<T>(team, k - j, j - start, &at(j, start), k, column(start) + j, k, 1, &at(j, j), k);
    }
  }
};

// L <- W B^-1 in place.
template <class T, bool Hermitian>
void divide_columns(int m, int k, const T* d, const T* below, T* l) {
  for (ptrdiff_t j = 0; j < k; j++) {
    T* __restrict x = l + j * m;
    const T inverse = d[j + j * k];
    if (below[j] == T(0)) {
      for (int i = 0; i < m; i++) x[i] = multiply(x[i], inverse);
      continue;
    }
    T* __restrict y = x + m;
    const T second = d[j + 1 + (j + 1) * k], cross = below[j], mirrored = conjugate_if<Hermitian>(cross);
    for (int i = 0; i < m; i++) {
      const T first = x[i];
      x[i] = multiply(first, inverse) + multiply(y[i], cross);
      y[i] = multiply(first, mirrored) + multiply(y[i], second);
    }
    j++;
  }
}

// `work`: k * (kPanel + 2) or m * k entries, whichever is more.
template <class T, bool Hermitian>
void ldlt_front(Team& team, int k, int m, T* d, T* l, T* c, T* work, int32_t* pivots, T* below, PivotCheck<T>& check,
                bool fresh) {
  PivotBlock<T, Hermitian>{k, d, work, pivots, below, check}.factor(team);
  if (m == 0) return;
  for (ptrdiff_t j = 0; j < k; j++) {
    if (pivots[j] != j) std::swap_ranges(l + j * m, l + (j + 1) * m, l + static_cast<ptrdiff_t>(pivots[j]) * m);
  }
  constexpr bool conjugate = Hermitian && ScalarTraits<T>::is_complex;
  if constexpr (conjugate) mirror<T>(0, k, d, k, k);
  for_strips(team, m, [&](int begin, int count) {
    solve_right<T, true>(count, k, d, conjugate ? 1 : k, conjugate ? k : 1, l + begin, m);
  });
  const int64_t count = static_cast<int64_t>(m) * k;
  for (int64_t i = 0; i < count; i++) work[i] = conjugate_if<Hermitian>(l[i]);
  divide_columns<T, Hermitian>(m, k, d, below, l);
  subtract_lower<T>(team, m, k, l, m, work, m, 1, c, m, fresh);
}

}  // namespace sparsesolve

#endif  // SPARSESOLVE_LDLT_FRONT_H_
