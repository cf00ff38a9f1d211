// A x = b or A^T x = b checked by the true residual (`refine.h`), from factors that are given or made on the way.
//
// Where factors are not given ("once"), a group of `kLanes` members is read, factorized, solved, checked and refined while
// it lies in the cache, and only solutions are written: for batches of small matrices that saves most of the traffic.
// Members that do not pass are treated one by one, with their own factors.
//
// Operands: the tables of `simplicial.h` and the columns of the pattern, factors (..., F) and row_scale (..., n) if given,
// data (..., nnz), rhs (..., n). Attributes: transpose, refinements, steps. Results: x (..., n), errors (...,), counts
// (..., 3) as in `refine.h`.

#include "binding.h"
#include "lanes_refine.h"
#include "simplicial_kernels.h"

namespace sparsesolve {
namespace {

// Where one system lies; `factors` null where there are none yet.
template <class T>
struct One {
  const T *factors, *data, *rhs;
  const RealOf<T>* scale;
  T* x;
};

// Working space of a thread, made when it is first needed.
template <class T>
struct Space {
  using L = Lanes<T, kLanes<T>>;
  Aligned<T> factors, zeros, y;
  Aligned<RealOf<T>> scale;
  const T* factors_of = nullptr;  // the values that `factors` belong to
  Aligned<typename L::Value> lane_data, lane_factors, lane_zeros, lane_y, lane_b, lane_x;
  Aligned<typename L::Size> lane_scale;
  std::unique_ptr<LaneSpace<L>> refine;

  void prepare_lanes(const Simplicial& t) {
    if (lane_y) return;
    using Value = typename L::Value;
    lane_data = allocate_aligned<Value>(t.indptr[t.n]);
    lane_factors = allocate_aligned<Value>(t.factor_size());
    lane_zeros = allocate_aligned<Value>(kTogether * t.n);
    std::fill_n(lane_zeros.get(), kTogether * t.n, L::zero());
    lane_y = allocate_aligned<Value>(t.n);
    lane_b = allocate_aligned<Value>(t.n);
    lane_x = allocate_aligned<Value>(t.n);
    lane_scale = allocate_aligned<typename L::Size>(t.n);
    refine = std::make_unique<LaneSpace<L>>(t.n);
  }

  // Factors of one member.
  void factorize(const Simplicial& t, One<T>& one) {
    if (!zeros) {
      zeros = allocate_aligned<T>(kTogether * t.n);
      std::fill_n(zeros.get(), kTogether * t.n, T(0));
      factors = allocate_aligned<T>(t.factor_size());
      scale = allocate_aligned<RealOf<T>>(t.n);
    }
    if (factors_of != one.data) factor_values<Lanes<T, 1>>(t, one.data, scale.get(), zeros.get(), factors.get());
    factors_of = one.data;
    one.factors = factors.get(), one.scale = scale.get();
  }
};

template <class T>
struct Call {
  const Simplicial& t;
  const Checked<T>& checked;
  View<T> x;

  void alone(const One<T>& given, int64_t member, Space<T>& space, bool solved) const {
    One<T> one = given;
    if (one.factors == nullptr) space.factorize(t, one);
    if (!space.y) space.y = allocate_aligned<T>(t.n);
    const FactorSolve<T> solve = [&](int64_t count, const T* b, T* to) {
      for (int64_t q = 0; q < count; q++) {
        solve_alone<T>(t, one.factors, one.scale, checked.transpose, b + q * t.n, space.y.get(), to + q * t.n);
      }
    };
    if (!solved) solve(1, one.rhs, one.x);
    Team team;
    checked.run(team, x, member, 1, solve);
  }

  // Members from `first` on side by side.
  void together(const One<T>* some, int64_t first, int count, Space<T>& space) const {
    using L = typename Space<T>::L;
    using Value = typename L::Value;
    constexpr int W = L::kWidth;
    space.prepare_lanes(t);
    const T *data[W], *rhs[W], *factors[W];
    const RealOf<T>* scale[W];
    T* to[W];
    bool same_factors = true, same_data = true;
    for (int l = 0; l < W; l++) {
      const One<T>& one = some[std::min(l, count - 1)];
      data[l] = one.data, rhs[l] = one.rhs, factors[l] = one.factors, scale[l] = one.scale, to[l] = one.x;
      same_factors &= one.factors == some[0].factors;
      same_data &= one.data == some[0].data;
    }
    const bool given = some[0].factors != nullptr;
    Value *b = space.lane_b.get(), *y = space.lane_y.get(), *at = space.lane_x.get();
    interleave<L>(t.n, rhs, b);
    const bool spread_data = same_data && given;
    if (!spread_data) interleave<L>(t.indptr[t.n], data, space.lane_data.get());
    if (given) {
      interleave<Lanes<RealOf<T>, W>>(t.n, scale, space.lane_scale.get());
      if (!same_factors) interleave<L>(t.factor_size(), factors, space.lane_factors.get());
    } else {
      factor_values<L>(t, space.lane_data.get(), space.lane_scale.get(), space.lane_zeros.get(),
                       space.lane_factors.get());
    }
    const auto solve = [&](const Value* from, Value* into) {
      gather<L>(t, checked.transpose, from, space.lane_scale.get(), y);
      if (given && same_factors) {
        solve_values<L, T>(t, factors[0], checked.transpose, y);
      } else {
        solve_values<L, Value>(t, space.lane_factors.get(), checked.transpose, y);
      }
      scatter<L>(t, checked.transpose, y, space.lane_scale.get(), into);
    };
    solve(b, at);
    Outcome<T> outcomes[W];
    bool passed[W];
    if (spread_data) {
      LaneEquations<L, T> e{checked.pattern, data[0], checked.transpose, b, space.refine->sums.get()};
      refine_lanes<L>(e, checked.limits.refinements, at, *space.refine, outcomes, passed, solve);
    } else {
      LaneEquations<L, Value> e{checked.pattern, space.lane_data.get(), checked.transpose, b, space.refine->sums.get()};
      refine_lanes<L>(e, checked.limits.refinements, at, *space.refine, outcomes, passed, solve);
    }
    deinterleave<L>(t.n, at, count, to);
    for (int l = 0; l < count; l++) {
      if (passed[l]) {
        checked.write(first + l, outcomes[l]);
      } else {
        alone(some[l], first + l, space, true);
      }
    }
  }
};

template <class T>
void solve(const Simplicial& t, const Checked<T>& checked, const View<const T>* factors,
           const View<const RealOf<T>>* row_scale, const View<T>& x, ffi::ThreadPool& pool) {
  checked.check(x);
  require(x.size == t.n, "solution must hold one number an unknown");
  require(checked.rhs.size == t.n, "right-hand side must hold one number an unknown");
  require_broadcast(checked.rhs, x.dims, x.batch_rank);
  if (factors != nullptr) {
    require(factors->size == t.factor_size(), "factors must hold one number an entry of L, U and off");
    require(row_scale->size == t.n, "row_scale must hold one number an unknown");
    require_broadcast(*factors, x.dims, x.batch_rank);
    require_broadcast(*row_scale, x.dims, x.batch_rank);
  }
  const Call<T> call{t, checked, x};
  constexpr int W = kLanes<T>;
  const int64_t groups = (x.members + W - 1) / W;
  const auto run = [&](int64_t group, Space<T>& space) {
    One<T> members[W];
    const int64_t first = group * W;
    const int some = static_cast<int>(std::min<int64_t>(W, x.members - first));
    bool same = true;
    for (int i = 0; i < some; i++) {
      const int64_t m = first + i;
      members[i] = {factors == nullptr ? nullptr : member(*factors, x, m), member(checked.data, x, m),
                    member(checked.rhs, x, m), factors == nullptr ? nullptr : member(*row_scale, x, m),
                    x.data + m * t.n};
      same &= members[i].data == members[0].data;
    }
    // One matrix for all is factorized once, by itself.
    if (factors == nullptr && same) {
      space.factorize(t, members[0]);
      for (int i = 1; i < some; i++) members[i].factors = members[0].factors, members[i].scale = members[0].scale;
    }
    bool shared = same;
    for (int i = 1; i < some; i++) shared &= members[i].factors == members[0].factors;
    const bool lanes = shared || worth_interleaving<T>(t.factor_size() + t.indptr[t.n], W);
    if (some >= W / 2 && lanes) return call.together(members, first, some, space);
    for (int i = 0; i < some; i++) call.alone(members[i], first + i, space, false);
  };
  if (groups == 1) {
    Space<T> space;
    return run(0, space);
  }
  const int most = static_cast<int>(std::min<int64_t>(groups, Team::kMost));
  Team team = worth_sharing(groups, t.factor_size()) ? Team(pool, most) : Team();
  std::vector<Space<T>> spaces(team.size());
  team.loop(groups, [&](int64_t group, int worker) { run(group, spaces[worker]); });
}

// Tables that the plain calls check as well.
Simplicial read_all(const SimplicialBuffers& buffers, const ffi::AnyBuffer& blocks_buffer,
                    const ffi::AnyBuffer& indptr_buffer, const ffi::AnyBuffer& col_order_buffer) {
  Simplicial t = read_simplicial(buffers);
  read_blocks(t, blocks_buffer, col_order_buffer);
  t.indptr = table(indptr_buffer, 1, "indptr").data;
  return t;
}

ffi::Error checked_call(ffi::ThreadPool pool, ffi::AnyBuffer columns, ffi::AnyBuffer l_row, ffi::AnyBuffer u_row,
                        ffi::AnyBuffer off_row, ffi::AnyBuffer l_runs, ffi::AnyBuffer blocks, ffi::AnyBuffer indptr,
                        ffi::AnyBuffer indices, ffi::AnyBuffer row_order, ffi::AnyBuffer col_order,
                        ffi::AnyBuffer factor_buffer, ffi::AnyBuffer scale_buffer, ffi::AnyBuffer data,
                        ffi::AnyBuffer rhs, ffi::Result<ffi::AnyBuffer> x, ffi::Result<ffi::AnyBuffer> errors,
                        ffi::Result<ffi::AnyBuffer> counts, bool transpose, int64_t refinements, int64_t steps) {
  return guarded([&] {
    Simplicial t = read_all({columns, l_row, u_row, off_row, l_runs, row_order}, blocks, indptr, col_order);
    const CsrPattern pattern(indptr, indices, t.n);
    dispatch(data.element_type(), [&](auto zero) {
      using T = decltype(zero);
      const Checked<T> checked(pattern, data, rhs, *errors, *counts, transpose, {refinements, steps});
      const auto factors = view<const T>(factor_buffer, 1, "factors");
      const auto row_scale = view<const RealOf<T>>(scale_buffer, 1, "row_scale");
      solve<T>(t, checked, &factors, &row_scale, view<T>(*x, 1, "x"), pool);
    });
  });
}

ffi::Error once_call(ffi::ThreadPool pool, ffi::AnyBuffer columns, ffi::AnyBuffer l_row, ffi::AnyBuffer u_row,
                     ffi::AnyBuffer in_source, ffi::AnyBuffer in_row, ffi::AnyBuffer off_source,
                     ffi::AnyBuffer off_row, ffi::AnyBuffer l_runs, ffi::AnyBuffer blocks, ffi::AnyBuffer indptr,
                     ffi::AnyBuffer indices, ffi::AnyBuffer row_order, ffi::AnyBuffer col_order, ffi::AnyBuffer data,
                     ffi::AnyBuffer rhs, ffi::Result<ffi::AnyBuffer> x, ffi::Result<ffi::AnyBuffer> errors,
                     ffi::Result<ffi::AnyBuffer> counts, bool transpose, int64_t refinements, int64_t steps) {
  return guarded([&] {
    Simplicial t = read_all({columns, l_row, u_row, off_row, l_runs, row_order}, blocks, indptr, col_order);
    const CsrPattern pattern(indptr, indices, t.n);
    require(pattern.rows == t.n, "indptr must have n + 1 numbers");
    read_entries(t, in_source, in_row, off_source, indptr);
    dispatch(data.element_type(), [&](auto zero) {
      using T = decltype(zero);
      const Checked<T> checked(pattern, data, rhs, *errors, *counts, transpose, {refinements, steps});
      solve<T>(t, checked, nullptr, nullptr, view<T>(*x, 1, "x"), pool);
    });
  });
}

}  // namespace
}  // namespace sparsesolve

SPARSESOLVE_HANDLER(SparsesolveSimplicialChecked, sparsesolve::checked_call,
                    sparsesolve::results<3>(sparsesolve::operands<14>(xla::ffi::Ffi::Bind().Ctx<xla::ffi::ThreadPool>()))
                        .Attr<bool>("transpose")
                        .Attr<int64_t>("refinements")
                        .Attr<int64_t>("steps"));

SPARSESOLVE_HANDLER(SparsesolveSimplicialOnce, sparsesolve::once_call,
                    sparsesolve::results<3>(sparsesolve::operands<15>(xla::ffi::Ffi::Bind().Ctx<xla::ffi::ThreadPool>()))
                        .Attr<bool>("transpose")
                        .Attr<int64_t>("refinements")
                        .Attr<int64_t>("steps"));
