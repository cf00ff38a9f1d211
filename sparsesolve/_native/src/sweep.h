// What all multifrontal solves share: the sweeps over the tree, many right-hand sides and batches of factors.
//
// The scaled right-hand sides lie in elimination order in one working vector y, `group` of them interleaved:
// y[place * group + r]. The pivots of a front are contiguous there, its border is gathered by the table. One right-hand
// side runs on matrix-vector kernels, several on the products of the factorization, so that the factors are read once.
// Right-hand sides along trailing batch dimensions in which the factors have length 1 share them.

#ifndef SPARSESOLVE_SWEEP_H_
#define SPARSESOLVE_SWEEP_H_

#include "buffers.h"
#include "solve_one.h"
#include "triangular.h"

namespace sparsesolve {

constexpr int64_t kGroup = 32;  // right-hand sides solved at once

struct SolveTables {
  View<const int32_t> fronts;
  int64_t n, borders;
  const int32_t* border;
};

inline SolveTables solve_tables(const ffi::AnyBuffer& fronts_buffer, const ffi::AnyBuffer& border_buffer, int64_t n) {
  const auto fronts = table(fronts_buffer, 2, "fronts");
  const auto border = table(border_buffer, 1, "border");
  require(fronts.core(1) == 4, "fronts must have four columns");
  require_below(border.data, border.size, n, "border: a row is outside the matrix");
  return {fronts, n, border.size, border.data};
}

// A permutation table: where each place's unknown is.
inline View<const int32_t> order_table(const ffi::AnyBuffer& buffer, const char* name, const char* message) {
  const auto order = table(buffer, 1, name);
  require_below(order.data, order.size, order.size, message);
  return order;
}

// The border's part of y, and back.
template <class T>
void gather_border(const int32_t* border, int64_t m, int group, const T* y, T* work) {
  if (group == 1) {
    for (int64_t i = 0; i < m; i++) work[i] = y[border[i]];
    return;
  }
  for (int64_t i = 0; i < m; i++) {
    const T* from = y + int64_t{border[i]} * group;
    std::copy(from, from + group, work + i * group);
  }
}

template <class T>
void add_border(const int32_t* border, int64_t m, int group, const T* work, T* y) {
  if (group == 1) {
    for (int64_t i = 0; i < m; i++) y[border[i]] += work[i];
    return;
  }
  for (int64_t i = 0; i < m; i++) {
    T* to = y + int64_t{border[i]} * group;
    for (int r = 0; r < group; r++) to[r] += work[i * group + r];
  }
}

// Exchanges the pivots of one front as the factorization did.
template <class T>
void exchange(const int32_t* pivots, int64_t k, int group, T* y, bool backwards) {
  for (int64_t i = 0; i < k; i++) {
    const int64_t j = backwards ? k - 1 - i : i;
    if (pivots[j] != j) std::swap_ranges(y + j * group, y + (j + 1) * group, y + int64_t{pivots[j]} * group);
  }
}

// `group` right-hand sides, one after the other in `rhs` and in `x`. The method has the tables `take` and `give` with
// scales `before` and `after`, the kernels `forward` and `backward` of one front, and `turn` between the sweeps.
template <class T, class Method>
void solve_group(const Tree& tree, const SolveTables& t, const Method& method, int group, const T* rhs, T* x, T* y,
                 T* work) {
  const int32_t *take = method.take, *give = method.give;
  for (int64_t p = 0; p < t.n; p++) {
    for (int r = 0; r < group; r++) y[p * group + r] = rhs[r * t.n + take[p]] * method.before[take[p]];
  }
  const int64_t count = static_cast<int64_t>(tree.fronts.size());
  for (int64_t s = 0; s < count; s++) {
    const Front& f = tree.fronts[s];
    method.forward(f, t.border + f.border_start, group, y + f.first * group, y, work);
  }
  method.turn(y, t.n * group);
  for (int64_t s = count - 1; s >= 0; s--) {
    const Front& f = tree.fronts[s];
    method.backward(f, t.border + f.border_start, group, y + f.first * group, y, work);
  }
  method.turn(y, t.n * group);
  for (int64_t p = 0; p < t.n; p++) {
    for (int r = 0; r < group; r++) x[r * t.n + give[p]] = y[p * group + r] * method.after[give[p]];
  }
}

// Runs over the members of a call. `method(pointers to the member of each operand)` makes the solver of one member;
// `factors` comes first among the operands.
template <class T, class Make, class... Operand>
void solve_members(const SolveTables& t, FactorSize factor_size, const View<const T>& rhs, const View<T>& x, Make&& make,
                   const View<const T>& factors, const Operand&... operands) {
  require(rhs.size == t.n && x.size == t.n, "right-hand side and solution must hold one number an unknown");
  const size_t rank = x.batch_rank;
  require_broadcast(rhs, x.dims, rank);
  require_broadcast(factors, x.dims, rank);
  (require_broadcast(operands, x.dims, rank), ...);
  const Tree tree = read_tree(t.fronts.data, t.fronts.core(0), {t.n, t.borders, -1, factors.size}, factor_size);
  // The leading batch dimensions along which factors differ, or along which the right-hand side is shared.
  size_t axes = rank;
  const auto shared = [&](size_t i) {
    return factors.dims[i] == 1 && ((operands.dims[i] == 1) && ...) && rhs.dims[i] == x.dims[i];
  };
  while (axes > 0 && shared(axes - 1)) axes--;
  int64_t outer = 1, inner = 1;
  for (size_t i = 0; i < rank; i++) (i < axes ? outer : inner) *= x.dims[i];
  const int64_t group = std::min(inner, kGroup);
  const auto y = allocate<T>(t.n * group);
  const auto work = allocate<T>(tree.largest_border * group);
  std::vector<int64_t> index(axes, 0);
  for (int64_t o = 0; o < outer; o++) {
    const auto at = [&](const auto& operand) { return operand.data + member(operand, index.data(), axes) * operand.size; };
    const auto method = make(at(factors), at(operands)...);
    const T* from = at(rhs);
    T* to = x.data + o * inner * t.n;
    for (int64_t r = 0; r < inner; r += group) {
      const int some = static_cast<int>(std::min(group, inner - r));
      solve_group<T>(tree, t, method, some, from + r * t.n, to + r * t.n, y.get(), work.get());
    }
    for (size_t i = axes; i-- > 0 && ++index[i] == x.dims[i];) index[i] = 0;
  }
}

}  // namespace sparsesolve

#endif  // SPARSESOLVE_SWEEP_H_
