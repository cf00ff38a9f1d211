// FFI calls of the sparse products: by diagonals, by stencil runs, by padded rows, by CSR rows. The algorithms are in the headers.
//
// Vectors are (members, n, columns), results (members, m, columns), values (members, ...), members being 1 or that of
// the result. All shapes and tables are checked against each other, tables as they are read.

#include "binding.h"
#include "buffers.h"
#include "csr_rows.h"
#include "diagonals.h"
#include "padded_rows.h"
#include "parallel.h"
#include "stencil.h"

namespace sparsesolve {
namespace {

using Integers = ffi::Span<const int64_t>;

// Whether a diagonal can exist at all, so that places computed from its offset cannot overflow.
inline bool is_offset(int64_t offset) { return offset > -(int64_t{1} << 31) && offset < int64_t{1} << 31; }

constexpr int64_t kRowsChecked = 256;  // tables of so many rows are still in the cache when they are used

template <class T>
View<const T> values_of(const ffi::AnyBuffer& buffer, size_t core_rank, int64_t members, const char* name) {
  const View<const T> out = view<const T>(buffer, core_rank, name);
  require(out.batch_rank == 1 && (out.members == 1 || out.members == members),
          "values must have one leading dimension, of length 1 or that of the result");
  return out;
}

// The member of an operand that belongs to member `b` of the result.
template <class T>
T* member_of(const View<T>& view, int64_t b) {
  return view.data + (view.members == 1 ? 0 : b * view.size);
}

template <class T>
struct Vectors {
  View<const T> v;
  View<T> y;
  int64_t members, others, rows, columns;

  Vectors(const ffi::AnyBuffer& v_buffer, const ffi::AnyBuffer& y_buffer)
      : v(view<const T>(v_buffer, 2, "vector")), y(view<T>(y_buffer, 2, "result")) {
    require(y.batch_rank == 1, "a result has three dimensions");
    members = y.members;
    require(v.batch_rank == 1 && (v.members == 1 || v.members == members),
            "a vector has three dimensions, the first of length 1 or that of the result");
    others = v.core(0), rows = y.core(0), columns = y.core(1);
    require(v.core(1) == columns, "vector and result must have equally many columns");
  }
};

ffi::AnyBuffer argument(const ffi::RemainingArgs& args, size_t at) {
  const auto buffer = args.get<ffi::AnyBuffer>(at);
  if (!buffer.has_value()) throw std::invalid_argument("an operand is missing");
  return *buffer;
}

// Calls `part(begin, end)` for parts of the rows of a product, on several threads where there is work for them. What a row
// becomes does not depend on their number.
template <class T, class Part>
void over_rows(ffi::ThreadPool& pool, const Vectors<T>& x, int64_t entries_a_row, Part&& part) {
  constexpr int64_t kRows = 32768, kEntriesAThread = 400000;
  const int64_t work = x.rows * (entries_a_row + 1) * x.columns;
  Team team(pool, static_cast<int>(std::min<int64_t>(work / kEntriesAThread, Team::kMost)));
  team.loop((x.rows + kRows - 1) / kRows, [&](int64_t chunk, int) {
    part(chunk * kRows, std::min(x.rows, (chunk + 1) * kRows));
  });
}

template <class T>
void diagonals(ffi::ThreadPool& pool, const Vectors<T>& x, const ffi::RemainingArgs& args, Integers offsets,
               bool transpose) {
  require(args.size() == offsets.size(), "there must be one vector of values for each diagonal");
  Diagonals<T> a{{}, {}, x.rows, x.others, transpose};
  std::vector<View<const T>> values;
  for (size_t d = 0; d < offsets.size(); d++) {
    values.push_back(values_of<T>(argument(args, d), 1, x.members, "diagonal"));
    require(values[d].size == (transpose ? x.others : x.rows), "a diagonal must have one value for each row");
    require(is_offset(offsets[d]), "offsets: a diagonal is outside the matrix");
    a.shift.push_back(transpose ? -offsets[d] : offsets[d]);
  }
  require(offsets.size() > 0, "there must be a diagonal");
  a.values.resize(offsets.size());
  for (int64_t b = 0; b < x.members; b++) {
    for (size_t d = 0; d < offsets.size(); d++) a.values[d] = member_of(values[d], b);
    over_rows(pool, x, static_cast<int64_t>(offsets.size()), [&](int64_t begin, int64_t end) {
      multiply_diagonals<T>(a, begin, end, x.columns, member_of(x.v, b), member_of(x.y, b));
    });
  }
}

ffi::Error diagonals_call(ffi::ThreadPool pool, ffi::AnyBuffer v, ffi::RemainingArgs values,
                          ffi::Result<ffi::AnyBuffer> y, Integers offsets, bool transpose) {
  return guarded([&] {
    dispatch(v.element_type(), [&](auto zero) {
      using T = decltype(zero);
      diagonals<T>(pool, Vectors<T>(v, *y), values, offsets, transpose);
    });
  });
}

template <class T>
void stencil(ffi::ThreadPool& pool, const Vectors<T>& x, const Stencil& a, const View<const T>& data, bool transpose) {
  for (int64_t b = 0; b < x.members; b++) {
    const T* values = member_of(data, b);
    const T* v = member_of(x.v, b);
    T* y = member_of(x.y, b);
    if (transpose) {
      std::fill(y, y + x.y.size, T{});
      multiply_stencil_transposed<T>(a, x.columns, values, v, y);
    } else {
      over_rows(pool, x, static_cast<int64_t>(a.offsets.size()), [&](int64_t begin, int64_t end) {
        multiply_stencil<T>(a, begin, end, x.columns, values, v, y);
      });
    }
  }
}

// Tables: starts (m,), kinds (m,) uint8, ranks (kinds, D); all empty where every row stores every diagonal.
ffi::Error stencil_call(ffi::ThreadPool pool, ffi::AnyBuffer starts_buffer, ffi::AnyBuffer kinds, ffi::AnyBuffer ranks_buffer,
                        ffi::AnyBuffer data, ffi::AnyBuffer v, ffi::Result<ffi::AnyBuffer> y, Integers offsets,
                        bool transpose) {
  return guarded([&] {
    const auto starts = table(starts_buffer, 1, "starts");
    const auto ranks = table(ranks_buffer, 2, "ranks");
    require(kinds.element_type() == ffi::DataType::U8 && kinds.dimensions().size() == 1, "kinds: a vector of uint8");
    require(offsets.size() > 0, "there must be a diagonal");
    const int64_t width = static_cast<int64_t>(offsets.size());
    const bool full = starts.size == 0;
    require(static_cast<int64_t>(kinds.element_count()) == starts.size, "kinds and starts must be equally long");
    require(full || ranks.core(1) == width, "ranks must have a column for each diagonal");
    for (const int64_t offset : offsets) require(is_offset(offset), "offsets: outside the matrix");
    dispatch(v.element_type(), [&](auto zero) {
      using T = decltype(zero);
      const Vectors<T> x(v, *y);
      const auto values = values_of<T>(data, 1, x.members, "data");
      require(full || starts.size == (transpose ? x.others : x.rows), "starts must hold one number a row");
      const Stencil a(transpose ? x.others : x.rows, transpose ? x.rows : x.others, values.size,
                      full ? nullptr : starts.data, full ? nullptr : static_cast<const uint8_t*>(kinds.untyped_data()),
                      full ? nullptr : ranks.data, full ? 1 : ranks.core(0), offsets.begin(), width);
      stencil<T>(pool, x, a, values, transpose);
    });
  });
}

// The tables of buckets: `places` of all rows, or empty, then from `args` the columns of each bucket.
std::vector<Bucket> read_buckets(const ffi::AnyBuffer& places_buffer, const ffi::RemainingArgs& args, Integers widths,
                                 int64_t longest_by_columns) {
  const auto places = table(places_buffer, 1, "places");
  require(args.size() >= widths.size(), "a table of a bucket is missing");
  std::vector<Bucket> buckets;
  int64_t first = 0;
  for (size_t q = 0; q < widths.size(); q++) {
    const auto columns = table(argument(args, q), 2, "columns");
    Bucket b{widths[q], 0, widths[q] > longest_by_columns, columns.data, nullptr, first};
    require(b.width > 0 && columns.core(b.by_rows ? 1 : 0) == b.width, "columns: a bucket has another width");
    b.rows = columns.core(b.by_rows ? 0 : 1);
    if (places.size > 0) {
      require(first + b.rows <= places.size, "places must hold one number a row");
      b.places = places.data + first;
    }
    first += b.rows;
    buckets.push_back(b);
  }
  return buckets;
}

// Calls `part(bucket number, begin, end)` on pieces of the buckets, after a check of their tables.
template <class Part>
void over_pieces(const std::vector<Bucket>& buckets, int64_t rows, int64_t columns, Part&& part) {
  for (size_t q = 0; q < buckets.size(); q++) {
    const Bucket& b = buckets[q];
    require(b.places != nullptr || b.first + b.rows <= rows, "there are more rows than in the result");
    for (int64_t begin = 0; begin < b.rows; begin += kRowsChecked) {
      const int64_t end = std::min(b.rows, begin + kRowsChecked);
      check_rows(b, begin, end, rows, columns);
      part(q, begin, end);
    }
  }
}

template <class T>
void padded_rows(const Vectors<T>& x, const std::vector<Bucket>& buckets, const ffi::RemainingArgs& args) {
  size_t at = buckets.size();
  std::vector<std::vector<View<const T>>> values(buckets.size());
  for (size_t q = 0; q < buckets.size(); q++) {
    const Bucket& b = buckets[q];
    for (int64_t k = 0; k < (b.by_rows ? 1 : b.width); k++) {
      values[q].push_back(values_of<T>(argument(args, at++), b.by_rows ? 2 : 1, x.members, "values"));
      require(values[q].back().size == b.rows * (b.by_rows ? b.width : 1), "values do not have the size of a bucket");
    }
  }
  require(at == args.size(), "there are more values than buckets");
  for (int64_t member = 0; member < x.members; member++) {
    T* y = member_of(x.y, member);
    std::vector<std::vector<const T*>> own(buckets.size());
    for (size_t q = 0; q < buckets.size(); q++) {
      for (const auto& one : values[q]) own[q].push_back(member_of(one, member));
    }
    if (buckets.empty() || buckets.back().first + buckets.back().rows < x.rows) std::fill(y, y + x.y.size, T{});
    over_pieces(buckets, x.rows, x.others, [&](size_t q, int64_t begin, int64_t end) {
      multiply_bucket<T>(buckets[q], ArrangedValues<T>{buckets[q], own[q].data()}, begin, end, x.columns,
                         member_of(x.v, member), y);
    });
  }
}

ffi::Error padded_rows_call(ffi::AnyBuffer v, ffi::AnyBuffer places, ffi::RemainingArgs args,
                            ffi::Result<ffi::AnyBuffer> y, Integers widths, int64_t longest_by_columns) {
  return guarded([&] {
    const auto buckets = read_buckets(places, args, widths, longest_by_columns);
    dispatch(v.element_type(), [&](auto zero) {
      using T = decltype(zero);
      padded_rows<T>(Vectors<T>(v, *y), buckets, args);
    });
  });
}

template <class T>
void csr_rows(ffi::ThreadPool& pool, const Vectors<T>& x, const CsrRows& a, const View<const T>& data, bool transpose) {
  for (int64_t member = 0; member < x.members; member++) {
    const T* values = member_of(data, member);
    const T* v = member_of(x.v, member);
    T* y = member_of(x.y, member);
    if (transpose) {
      std::fill(y, y + x.y.size, T{});
      add_transposed_csr<T>(a, x.columns, values, v, y);
    } else {
      over_rows(pool, x, a.nnz / std::max<int64_t>(1, a.rows), [&](int64_t begin, int64_t end) {
        multiply_csr<T>(a, begin, end, x.columns, values, v, y);
      });
    }
  }
}

ffi::Error csr_rows_call(ffi::ThreadPool pool, ffi::AnyBuffer indptr_buffer, ffi::AnyBuffer indices_buffer, ffi::AnyBuffer order_buffer,
                         ffi::AnyBuffer data, ffi::AnyBuffer v, ffi::Result<ffi::AnyBuffer> y, bool transpose) {
  return guarded([&] {
    const auto indptr = table(indptr_buffer, 1, "indptr");
    const auto indices = table(indices_buffer, 1, "indices");
    const auto order = table(order_buffer, 1, "order");
    dispatch(v.element_type(), [&](auto zero) {
      using T = decltype(zero);
      const Vectors<T> x(v, *y);
      const auto values = values_of<T>(data, 1, x.members, "data");
      const CsrRows a{transpose ? x.others : x.rows, transpose ? x.rows : x.others, values.size,
                      indptr.data, indices.data, order.data};
      require(indptr.size == a.rows + 1, "indptr must hold one number a row and one more");
      require(order.size == a.rows, "order must hold every row once");
      require(indices.size == values.size, "data must hold one number for each index");
      csr_rows<T>(pool, x, a, values, transpose);
    });
  });
}

}  // namespace
}  // namespace sparsesolve

using xla::ffi::AnyBuffer;
using xla::ffi::Ffi;
using xla::ffi::Span;

SPARSESOLVE_HANDLER(SparsesolveDiagonals, sparsesolve::diagonals_call,
                    Ffi::Bind().Ctx<xla::ffi::ThreadPool>().Arg<AnyBuffer>().RemainingArgs().Ret<AnyBuffer>().Attr<Span<const int64_t>>("offsets")
                        .Attr<bool>("transpose"));

SPARSESOLVE_HANDLER(SparsesolveStencil, sparsesolve::stencil_call,
                    sparsesolve::results<1>(sparsesolve::operands<5>(Ffi::Bind().Ctx<xla::ffi::ThreadPool>()))
                        .Attr<Span<const int64_t>>("offsets").Attr<bool>("transpose"));

SPARSESOLVE_HANDLER(SparsesolvePaddedRows, sparsesolve::padded_rows_call,
                    Ffi::Bind().Arg<AnyBuffer>().Arg<AnyBuffer>().RemainingArgs().Ret<AnyBuffer>()
                        .Attr<Span<const int64_t>>("widths").Attr<int64_t>("longest_by_columns"));

SPARSESOLVE_HANDLER(SparsesolveCsrRows, sparsesolve::csr_rows_call,
                    sparsesolve::results<1>(sparsesolve::operands<5>(Ffi::Bind().Ctx<xla::ffi::ThreadPool>()))
                        .Attr<bool>("transpose"));
