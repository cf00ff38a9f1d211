// Simplicial LU without pivoting: R A = L U inside diagonal blocks, for the members of a batch side by side.
//
// Left-looking by columns on a fixed structure, nothing is searched for (`simplicial.h` has the tables):
//
//   x <- R A(:, k);   for j in U(:, k), increasing:  u_jk = x_j,  x <- x - u_jk L(:, j);   L(:, k) = x / x_k
//
// A pivot below sqrt(eps) times the largest entry of its column is moved away from zero. A batch is taken in groups of
// `kLanes` members: their values are interleaved, every operation works on all of them, and the factors are brought
// back into one array a member. Groups are independent and go to different threads.
//
// Operands: the tables of `simplicial.h`, then data (..., nnz). Results: factors (..., F), row_scale (..., n) by places.
// References: J. R. Gilbert, T. Peierls, SIAM J. Sci. Stat. Comput. 9 (1988) 862-874, doi:10.1137/0909058. T. A. Davis,
// E. Palamadai Natarajan, Algorithm 907: KLU, ACM TOMS 37 (2010) 36, doi:10.1145/1824801.1824814.

#include "binding.h"
#include "column_update.h"
#include "pages.h"
#include "parallel.h"
#include "scaling.h"
#include "simplicial_kernels.h"

namespace sparsesolve {
namespace {

// 2^-e by the bits of x = f 2^e, f in [1/2, 1): `scale_of` without library calls, for a number or for lanes. One for
// zero.
template <class R, class V>
inline V fast_scale(V largest) {
  using Bits = std::conditional_t<sizeof(R) == 8, int64_t, int32_t>;
  constexpr int kMantissa = std::numeric_limits<R>::digits - 1;
  constexpr Bits kBias = std::numeric_limits<R>::max_exponent - 1;
  constexpr Bits kLimit = -(std::numeric_limits<R>::min_exponent - 1) / 2;
  if constexpr (std::is_same_v<R, V>) {
    if (!(largest > 0)) return R(1);
    Bits bits;
    std::memcpy(&bits, &largest, sizeof(R));
    const Bits exponent = std::clamp<Bits>((bits >> kMantissa) - (kBias - 1), -kLimit, kLimit);
    const Bits scale = (kBias - exponent) << kMantissa;
    R out;
    std::memcpy(&out, &scale, sizeof(R));
    return out;
  } else {
    typedef Bits Lane __attribute__((vector_size(sizeof(V))));
    Lane exponent = ((Lane)largest >> kMantissa) - (kBias - 1);
    exponent = exponent < -kLimit ? exponent - exponent - kLimit : exponent;
    exponent = exponent > kLimit ? exponent - exponent + kLimit : exponent;
    return largest > 0 ? (V)((kBias - exponent) << kMantissa) : V{} + R(1);
  }
}

// The larger of two sizes, without a branch; where `size` is NaN it does not count.
template <class V>
inline V larger(V most, V size) {
  if constexpr (std::is_floating_point_v<V>) {
    return size > most ? size : most;
  } else {
    return lane_max(most, size);
  }
}

// One where the largest size is infinite, so that infinite entries stay visible in the result.
template <class R, class V>
inline V if_finite(V largest) {
  return largest <= std::numeric_limits<R>::max() ? largest : V{} + R(1);
}

// The largest size among `count` numbers that lie side by side.
template <class L>
inline typename L::Size largest_of(const typename L::Value* data, int32_t count) {
  using R = RealOf<typename L::Scalar>;
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<typename L::Value, double>) {
    using S = Simd<double>;
    __m512d most = _mm512_setzero_pd();
    for (int32_t i = 0; i < count; i += S::width) {
      const __m512d size = _mm512_abs_pd((__m512d)S::load_n(data + i, std::min(S::width, count - i)));
      most = _mm512_mask_max_pd(most, _mm512_cmp_pd_mask(size, size, _CMP_EQ_OQ), size, most);
    }
    const R found = _mm512_reduce_max_pd(most);
    return if_finite<R>(found);
  }
#endif
  typename L::Size most{};
  for (int32_t i = 0; i < count; i++) most = larger<typename L::Size>(most, L::magnitude(data[i]));
  return if_finite<R>(most);
}

// Scales of the rows, by places.
template <class L>
void scale_rows(const Simplicial& t, const typename L::Value* data, typename L::Size* scale) {
  using R = RealOf<typename L::Scalar>;
  for (int64_t p = 0; p < t.n; p++) {
    const int64_t row = t.row_order[p];
    const int32_t first = t.indptr[row];
    scale[p] = fast_scale<R>(largest_of<L>(data + first, t.indptr[row + 1] - first));
  }
}

// Moves pivots that are too small beside their columns, and inverts them.
template <class L>
inline typename L::Value invert_pivot(typename L::Value pivot, const typename L::Size& largest) {
  using T = typename L::Scalar;
  using R = RealOf<T>;
  const R threshold = std::sqrt(std::numeric_limits<R>::epsilon());
  const typename L::Size size = L::magnitude(pivot);
  bool small;
  if constexpr (L::kWidth == 1) {
    small = size <= 2 * threshold * largest;
  } else {
    small = any_lane(size <= 2 * threshold * largest);
  }
  if (__builtin_expect(small, 0)) {
    for (int i = 0; i < L::kWidth; i++) {
      const R most = L::get_size(largest, i);
      L::set(pivot, i, away_from_zero<T>(L::get(pivot, i), threshold * (most > 0 ? most : R(1))));
    }
  }
  return L::inverse(pivot);
}

// Column k of the scaled matrix to x and to the part above the diagonal blocks. Returns its largest entry.
template <class L>
__attribute__((always_inline)) inline typename L::Size load_column(const Simplicial& t, int64_t k, const typename L::Value* data,
                                    const typename L::Size* scale, typename L::Value* x, typename L::Value* off) {
  using R = RealOf<typename L::Scalar>;
  const Column &c = t.columns[k], &next = t.columns[k + 1];
  typename L::Size largest{};
  for (int32_t e = c.in; e < next.in; e++) {
    const int32_t row = t.in_row[e];
    const typename L::Value value = x[row] = L::scaled(data[t.in_source[e]], scale[row]);
    largest = larger<typename L::Size>(largest, L::magnitude(value));
  }
  for (int32_t e = c.off; e < next.off; e++) off[e] = L::scaled(data[t.off_source[e]], scale[t.off_row[e]]);
  return if_finite<R>(largest);
}

// Column k of L from x, which is cleared.
template <class L, bool Runs>
inline void store_column(const Simplicial& t, int64_t k, typename L::Value inverse, typename L::Value* x,
                         typename L::Value* l) {
  using Value = typename L::Value;
  const Column &c = t.columns[k], &next = t.columns[k + 1];
  if constexpr (Runs && std::is_floating_point_v<Value>) {
    using V = Simd<Value>;
    l += c.l;
    for (int32_t r = c.run; r < next.run; r++) {
      Value* from = x + t.l_runs[2 * r];
      const int32_t length = t.l_runs[2 * r + 1];
      int i = 0;
      for (; i + V::width <= length; i += V::width) {
        V::store(l + i, V::load(from + i) * inverse);
        V::store(from + i, typename V::type{});
      }
      if (i < length) {
        V::store_n(l + i, V::load_n(from + i, length - i) * inverse, length - i);
        V::store_n(from + i, typename V::type{}, length - i);
      }
      l += length;
    }
  } else {
    for (int32_t e = c.l; e < next.l; e++) {
      Value& from = x[t.l_row[e]];
      l[e] = L::times(from, inverse);
      from = L::zero();
    }
  }
}

// Multiples of the columns in U's rows `begin` to `end` of one column leave x. `Gaps`: rows may be missing from chains.
template <class L, bool Runs, bool Gaps>
inline void eliminate(const Simplicial& t, int32_t begin, int32_t end, typename L::Value* x,
                      const SimplicialFactors<typename L::Value>& f) {
  for (int32_t e = begin; e < end;) {
    const int32_t j = t.u_row[e];
    int32_t most = end - e;
    if (Gaps) {
      most = std::min(most, 4);
      int32_t run = 1;
      while (run < most && t.u_row[e + run] == j + run) run++;
      most = run;
    }
    e += update_chain<L, Runs, true, 1>(t, j, most, f.l, Targets<typename L::Value, 1>{{x}, {f.u + e}});
  }
}

// Columns k .. k + G - 1: the rows of U that each has for itself, those that all have at once, and the rest. A column of
// L below a shared row leads to shared rows only, so that none is needed before it is there.
template <class L, bool Runs, int G>
inline void factor_together(const Simplicial& t, int64_t k, const typename L::Value* data,
                            const typename L::Size* scale, typename L::Value* x,
                            const SimplicialFactors<typename L::Value>& f) {
  using Value = typename L::Value;
  typename L::Size largest[G];
  Targets<Value, G> targets;
  for (int g = 0; g < G; g++) {
    const Column& c = t.columns[k + g];
    targets.x[g] = x + g * t.n;
    targets.to[g] = f.u + c.u + c.own;
    largest[g] = load_column<L>(t, k + g, data, scale, targets.x[g], f.off);
    if (G > 1) eliminate<L, Runs, true>(t, c.u, c.u + c.own, targets.x[g], f);
  }
  const int32_t begin = t.columns[k].u + (G > 1 ? t.columns[k].own : 0), end = t.columns[k + 1].u;
  if (G == 1) targets.to[0] = f.u + begin;
  for (int32_t e = begin; e < end;) {
    const int count = update_chain<L, Runs, true, G>(t, t.u_row[e], end - e, f.l, targets);
    for (int g = 0; g < G; g++) targets.to[g] += count;
    e += count;
  }
  for (int g = 0; g < G; g++) {
    const Column& c = t.columns[k + g];
    if (g > 0) eliminate<L, Runs, false>(t, c.u + c.own + (end - begin), (&c)[1].u, targets.x[g], f);
    Value& pivot = targets.x[g][k + g];
    const Value inverse = f.inverse[k + g] = invert_pivot<L>(pivot, largest[g]);
    pivot = L::zero();
    store_column<L, Runs>(t, k + g, inverse, targets.x[g], f.l);
  }
}

// Factors of a group from its values in CSR order. `x` holds kTogether * n values, zero before and after.
template <class L, bool Runs>
void factor_columns(const Simplicial& t, const typename L::Value* data, const typename L::Size* scale,
                    typename L::Value* x, typename L::Value* all) {
  const SimplicialFactors<typename L::Value> f(t, all);
  for (int64_t k = 0; k < t.n; k += t.columns[k].together) {
    switch (t.columns[k].together) {
      case 1: factor_together<L, Runs, 1>(t, k, data, scale, x, f); break;
      case 2: factor_together<L, Runs, 2>(t, k, data, scale, x, f); break;
      default: factor_together<L, Runs, kTogether>(t, k, data, scale, x, f);
    }
  }
}

}  // namespace

template <class L>
void factor_values(const Simplicial& t, const typename L::Value* data, typename L::Size* scale, typename L::Value* x,
                   typename L::Value* factors) {
  scale_rows<L>(t, data, scale);
  if constexpr (L::kWidth == 1) {
    if (t.runs()) return factor_columns<L, true>(t, data, scale, x, factors);
  }
  factor_columns<L, false>(t, data, scale, x, factors);
}

SPARSESOLVE_ALL_SCALARS(SPARSESOLVE_SIMPLICIAL_FACTOR, )

namespace {

template <class T>
struct Members {
  const T* data;
  T* factors;
  RealOf<T>* row_scale;
};

// One matrix. `x` is zero and stays so.
template <class T>
void factor_one(const Simplicial& t, int64_t b, const Members<T>& all, T* x) {
  const T* data = all.data + b * t.indptr[t.n];
  T* factors = all.factors + b * t.factor_size();
  RealOf<T>* scale = all.row_scale + b * t.n;
  factor_values<Lanes<T, 1>>(t, data, scale, x, factors);
}

template <class L>
struct GroupSpace {
  Aligned<typename L::Value> data, x, factors;
  Aligned<typename L::Size> scale;
  explicit GroupSpace(const Simplicial& t)
      : data(allocate_aligned<typename L::Value>(t.indptr[t.n])),
        x(allocate_aligned<typename L::Value>(kTogether * t.n)),
        factors(allocate_aligned<typename L::Value>(t.factor_size())),
        scale(allocate_aligned<typename L::Size>(t.n)) {
    std::fill_n(x.get(), kTogether * t.n, L::zero());
  }
};

// `some` members from `b` on; lanes without a member repeat the last one.
template <class L>
void factor_group(const Simplicial& t, int64_t b, int some, const Members<typename L::Scalar>& all,
                  const GroupSpace<L>& space) {
  using T = typename L::Scalar;
  const int64_t nnz = t.indptr[t.n];
  using R = RealOf<T>;
  const T* data[L::kWidth];
  T* factors[L::kWidth];
  R* scale[L::kWidth];
  for (int l = 0; l < L::kWidth; l++) {
    const int64_t member = b + std::min(l, some - 1);
    data[l] = all.data + member * nnz;
    factors[l] = all.factors + member * t.factor_size();
    scale[l] = all.row_scale + member * t.n;
  }
  interleave<L>(nnz, data, space.data.get());
  factor_values<L>(t, space.data.get(), space.scale.get(), space.x.get(), space.factors.get());
  deinterleave<L>(t.factor_size(), space.factors.get(), some, factors);
  deinterleave<Lanes<R, L::kWidth>>(t.n, space.scale.get(), some, scale);
}

// Working space of a thread, made when it is first needed.
template <class T>
struct FactorSpace {
  Aligned<T> one;
  std::unique_ptr<GroupSpace<Lanes<T, kLanes<T>>>> group;
};

template <class T>
void factor(const Simplicial& t, const ffi::AnyBuffer& data_buffer, const ffi::AnyBuffer& factor_buffer,
            const ffi::AnyBuffer& row_buffer, ffi::ThreadPool& pool) {
  const auto data = view<const T>(data_buffer, 1, "data");
  const auto factors = view<T>(factor_buffer, 1, "factors");
  const auto row_scale = view<RealOf<T>>(row_buffer, 1, "row_scale");
  require(data.size == t.indptr[t.n], "data must hold one value an entry of the pattern");
  require(factors.size == t.factor_size(), "factors must hold one number an entry of L, U and off");
  require(row_scale.size == t.n, "row_scale must hold one number an unknown");
  require_same_batch(data, factors, "results must be batched like the data");
  require_same_batch(data, row_scale, "results must be batched like the data");
  using L = Lanes<T, kLanes<T>>;
  const Members<T> all{data.data, factors.data, row_scale.data};
  prefer_large_pages(factors.data, sizeof(T) * factors.size * factors.members);
  const int64_t groups = (data.members + kLanes<T> - 1) / kLanes<T>;
  const auto run = [&](int64_t group, FactorSpace<T>& space) {
    const int64_t first = group * kLanes<T>;
    const int64_t some = std::min<int64_t>(kLanes<T>, data.members - first);
    if (some >= kLanes<T> / 2 && worth_interleaving<T>(t.factor_size() + t.indptr[t.n], kLanes<T>)) {
      if (!space.group) space.group = std::make_unique<GroupSpace<L>>(t);
      return factor_group<L>(t, first, static_cast<int>(some), all, *space.group);
    }
    if (!space.one) {
      space.one = allocate_aligned<T>(kTogether * t.n);
      std::fill_n(space.one.get(), kTogether * t.n, T(0));
    }
    for (int64_t b = 0; b < some; b++) factor_one<T>(t, first + b, all, space.one.get());
  };
  if (groups == 1) {
    FactorSpace<T> space;
    return run(0, space);
  }
  Team team = worth_sharing(groups, t.factor_size()) ? Team(pool, static_cast<int>(std::min<int64_t>(groups, Team::kMost)))
                                                     : Team();
  std::vector<FactorSpace<T>> spaces(team.size());
  team.loop(groups, [&](int64_t group, int worker) { run(group, spaces[worker]); });
}

ffi::Error factor_call(ffi::ThreadPool pool, ffi::AnyBuffer columns, ffi::AnyBuffer l_row, ffi::AnyBuffer u_row, ffi::AnyBuffer in_source,
                       ffi::AnyBuffer in_row, ffi::AnyBuffer off_source, ffi::AnyBuffer off_row, ffi::AnyBuffer l_runs,
                       ffi::AnyBuffer indptr_buffer, ffi::AnyBuffer row_order, ffi::AnyBuffer data,
                       ffi::Result<ffi::AnyBuffer> factors, ffi::Result<ffi::AnyBuffer> row_scale) {
  return guarded([&] {
    Simplicial t = read_simplicial({columns, l_row, u_row, off_row, l_runs, row_order});
    read_entries(t, in_source, in_row, off_source, indptr_buffer);
    dispatch(data.element_type(), [&](auto zero) { factor<decltype(zero)>(t, data, *factors, *row_scale, pool); });
  });
}

}  // namespace
}  // namespace sparsesolve

SPARSESOLVE_HANDLER(SparsesolveSimplicialFactor, sparsesolve::factor_call,
                    sparsesolve::results<2>(sparsesolve::operands<11>(xla::ffi::Ffi::Bind().Ctx<xla::ffi::ThreadPool>())));
