// A x = b or A^T x = b from the factors of `simplicial_factor.cc`, for many right-hand sides and batches of factors.
//
//   A x = b, blocks from the last to the first:     y <- L^-1 y,  y <- U^-1 y,  rows above: y <- y - off y
//   A^T x = b, blocks from the first to the last:   y <- y - off^T y (blocks above),  y <- U^-T y,  y <- L^-T y
//
// Solves come in groups of `kLanes`: right-hand sides of one matrix read each factor once for all; members of a batch
// with factors of their own have them interleaved on the way, a block of columns at a time.
//
// Operands: columns, l_row, u_row, off_row, l_runs, blocks, row_order, col_order (`simplicial.h`); factors (..., F),
// row_scale (..., n), rhs (..., n), batch dimensions as in `solve.cc`. Attribute: transpose. Result: x (..., n).

#include "binding.h"
#include "column_update.h"
#include "parallel.h"
#include "simplicial_kernels.h"

namespace sparsesolve {
namespace {

template <class L, bool Runs, class F>
void solve_forward(const Simplicial& t, const SimplicialFactors<const F>& f, typename L::Value* y) {
  using Value = typename L::Value;
  for (int64_t b = t.block_count - 1; b >= 0; b--) {
    const int64_t first = t.blocks[b], end = t.blocks[b + 1];
    for (int64_t k = first; k < end;) {
      k += update_chain<L, Runs, false, 1>(t, k, end - k, f.l, Targets<Value, 1>{{y}, {y + k}});
    }
    for (int64_t k = end - 1; k >= first; k--) {
      const Column &c = t.columns[k], &next = t.columns[k + 1];
      const Value value = y[k] = L::times(y[k], spread<L>(f.inverse[k]));
      for (int32_t e = c.u; e < next.u; e++) L::subtract(y[t.u_row[e]], spread<L>(f.u[e]), value);
      for (int32_t e = c.off; e < next.off; e++) L::subtract(y[t.off_row[e]], spread<L>(f.off[e]), value);
    }
  }
}

template <class L, class F>
inline typename L::Value minus_dot(const int32_t* row, const F* factor, int32_t from, int32_t to,
                                   const typename L::Value* y, typename L::Value value) {
  typename L::Value second = L::zero();
  int32_t e = from;
  for (; e + 1 < to; e += 2) {
    L::subtract(value, spread<L>(factor[e]), y[row[e]]);
    L::subtract(second, spread<L>(factor[e + 1]), y[row[e + 1]]);
  }
  if (e < to) L::subtract(value, spread<L>(factor[e]), y[row[e]]);
  return L::minus(value, L::minus(L::zero(), second));
}

template <class L, class F>
void solve_transposed(const Simplicial& t, const SimplicialFactors<const F>& f, typename L::Value* y) {
  for (int64_t b = 0; b < t.block_count; b++) {
    const int64_t first = t.blocks[b], end = t.blocks[b + 1];
    for (int64_t k = first; k < end; k++) {
      const Column &c = t.columns[k], &next = t.columns[k + 1];
      typename L::Value value = minus_dot<L>(t.off_row, f.off, c.off, next.off, y, y[k]);
      value = minus_dot<L>(t.u_row, f.u, c.u, next.u, y, value);
      y[k] = L::times(value, spread<L>(f.inverse[k]));
    }
    for (int64_t k = end - 1; k >= first; k--) {
      y[k] = minus_dot<L>(t.l_row, f.l, t.columns[k].l, t.columns[k + 1].l, y, y[k]);
    }
  }
}

}  // namespace

template <class L, class F>
void solve_values(const Simplicial& t, const F* factors, bool transpose, typename L::Value* y) {
  const SimplicialFactors<const F> f(t, factors);
  if (transpose) return solve_transposed<L, F>(t, f, y);
  if constexpr (L::kWidth == 1) {
    if (t.runs()) return solve_forward<L, true, F>(t, f, y);
  }
  solve_forward<L, false, F>(t, f, y);
}

SPARSESOLVE_ALL_SCALARS(SPARSESOLVE_SIMPLICIAL_SOLVE, )

namespace {

template <class T>
struct SolveViews {
  View<const T> factors;
  View<const RealOf<T>> row_scale;
  View<const T> rhs;
  View<T> x;
};

// The member of an operand that belongs to a member of the result, which are numbered row-major.
template <class A, class B>
int64_t member_of(const View<A>& operand, const View<B>& result, int64_t index) {
  int64_t at = 0, stride = 1;
  for (size_t i = result.batch_rank; i-- > 0;) {
    if (operand.dims[i] != 1) at += index % result.dims[i] * stride;
    index /= result.dims[i];
    stride *= operand.dims[i];
  }
  return at;
}

// Where the operands of one solve lie.
template <class T>
struct Member {
  const T* factors;
  const RealOf<T>* scale;
  const T* rhs;
  T* x;
};

// Working space of a thread, made when it is first needed.
template <class T>
struct SolveSpace {
  using L = Lanes<T, kLanes<T>>;
  Aligned<T> one;
  Aligned<typename L::Value> y, b, factors;
  Aligned<typename L::Size> scale;
};

constexpr int64_t kLargestGroup = int64_t{1} << 21;  // bytes of interleaved factors

// `some` solves side by side; `members` has kLanes places.
template <class T>
void solve_some(const Simplicial& t, Member<T>* members, int some, bool transpose, SolveSpace<T>& space) {
  constexpr int W = kLanes<T>;
  using L = Lanes<T, W>;
  bool shared = true;
  for (int l = 1; l < some; l++) shared &= members[l].factors == members[0].factors;
  // Factors are read once: to interleave more of them than the cache holds takes longer than to solve one by one.
  const bool large = !shared && t.factor_size() * W * static_cast<int64_t>(sizeof(T)) > kLargestGroup;
  if (some < W / 2 || large) {
    if (!space.one) space.one = allocate_aligned<T>(t.n);
    for (int i = 0; i < some; i++) {
      solve_alone<T>(t, members[i].factors, members[i].scale, transpose, members[i].rhs, space.one.get(), members[i].x);
    }
    return;
  }
  if (!space.y) {
    space.y = allocate_aligned<typename L::Value>(t.n);
    space.b = allocate_aligned<typename L::Value>(t.n);
    space.scale = allocate_aligned<typename L::Size>(t.n);
  }
  const T *factors[W], *rhs[W];
  const RealOf<T>* scale[W];
  T* x[W];
  for (int l = 0; l < W; l++) {
    const Member<T>& m = members[std::min(l, some - 1)];
    factors[l] = m.factors, rhs[l] = m.rhs, scale[l] = m.scale, x[l] = m.x;
  }
  interleave<L>(t.n, rhs, space.b.get());
  interleave<Lanes<RealOf<T>, W>>(t.n, scale, space.scale.get());
  gather<L>(t, transpose, space.b.get(), space.scale.get(), space.y.get());
  if (shared) {
    solve_values<L, T>(t, factors[0], transpose, space.y.get());
  } else {
    if (!space.factors) space.factors = allocate_aligned<typename L::Value>(t.factor_size());
    interleave<L>(t.factor_size(), factors, space.factors.get());
    solve_values<L, typename L::Value>(t, space.factors.get(), transpose, space.y.get());
  }
  scatter<L>(t, transpose, space.y.get(), space.scale.get(), space.b.get());
  deinterleave<L>(t.n, space.b.get(), some, x);
}

template <class T>
void solve(const Simplicial& t, const SolveViews<T>& v, bool transpose, ffi::ThreadPool& pool) {
  require(v.factors.size == t.factor_size(), "factors must hold one number an entry of L, U and off");
  require(v.row_scale.size == t.n, "row_scale must hold one number an unknown");
  require(v.rhs.size == t.n && v.x.size == t.n, "right-hand side and solution must hold one number an unknown");
  require_broadcast(v.factors, v.x.dims, v.x.batch_rank);
  require_broadcast(v.row_scale, v.x.dims, v.x.batch_rank);
  require_broadcast(v.rhs, v.x.dims, v.x.batch_rank);
  const int64_t groups = (v.x.members + kLanes<T> - 1) / kLanes<T>;
  const auto run = [&](int64_t group, SolveSpace<T>& space) {
    Member<T> members[kLanes<T>];
    const int64_t first = group * kLanes<T>;
    const int some = static_cast<int>(std::min<int64_t>(kLanes<T>, v.x.members - first));
    for (int i = 0; i < some; i++) {
      members[i] = {v.factors.data + member_of(v.factors, v.x, first + i) * v.factors.size,
                    v.row_scale.data + member_of(v.row_scale, v.x, first + i) * t.n,
                    v.rhs.data + member_of(v.rhs, v.x, first + i) * t.n, v.x.data + (first + i) * t.n};
    }
    solve_some<T>(t, members, some, transpose, space);
  };
  if (groups == 1) {
    SolveSpace<T> space;
    return run(0, space);
  }
  Team team = worth_sharing(groups, t.factor_size()) ? Team(pool, static_cast<int>(std::min<int64_t>(groups, Team::kMost)))
                                                     : Team();
  std::vector<SolveSpace<T>> spaces(team.size());
  team.loop(groups, [&](int64_t group, int worker) { run(group, spaces[worker]); });
}

ffi::Error solve_call(ffi::ThreadPool pool, ffi::AnyBuffer columns, ffi::AnyBuffer l_row, ffi::AnyBuffer u_row, ffi::AnyBuffer off_row,
                      ffi::AnyBuffer l_runs, ffi::AnyBuffer blocks_buffer, ffi::AnyBuffer row_order,
                      ffi::AnyBuffer col_order_buffer, ffi::AnyBuffer factors, ffi::AnyBuffer row_scale,
                      ffi::AnyBuffer rhs, ffi::Result<ffi::AnyBuffer> x, bool transpose) {
  return guarded([&] {
    Simplicial t = read_simplicial({columns, l_row, u_row, off_row, l_runs, row_order});
    read_blocks(t, blocks_buffer, col_order_buffer);
    dispatch(factors.element_type(), [&](auto zero) {
      using T = decltype(zero);
      solve<T>(t,
               {view<const T>(factors, 1, "factors"), view<const RealOf<T>>(row_scale, 1, "row_scale"),
                view<const T>(rhs, 1, "rhs"), view<T>(*x, 1, "x")},
               transpose, pool);
    });
  });
}

}  // namespace
}  // namespace sparsesolve

SPARSESOLVE_HANDLER(SparsesolveSimplicialSolve, sparsesolve::solve_call,
                    sparsesolve::results<1>(sparsesolve::operands<11>(xla::ffi::Ffi::Bind().Ctx<xla::ffi::ThreadPool>()))
                        .Attr<bool>("transpose"));
