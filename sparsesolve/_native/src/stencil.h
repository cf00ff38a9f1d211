// Products with CSR values whose rows are of few kinds, a kind being a set of diagonals. No column indices are read.
//
// Tables: start of each row in the values, or nothing where every row stores every diagonal; kind of each row; rank of
// each diagonal in each kind, -1 where it is not stored. Neighbouring rows of one kind form a run. In a run, entry k of
// row i lies `length` after that of row i - 1 and its column is i + offset: entries are collected from several rows
// at a time. The transpose adds one diagonal of a run after the other to the result.

#ifndef SPARSESOLVE_STENCIL_H_
#define SPARSESOLVE_STENCIL_H_

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "pack.h"
#include "tree.h"

namespace sparsesolve {

struct StencilKind {
  struct Segment {
    int64_t entry, offset, length;
  };
  std::vector<int64_t> offsets;  // of its entries, in the order of the values
  int64_t length = 0, least = 0, most = 0;
  std::vector<Segment> segments;  // entries side by side; none where they are too short to pay

  // Called when the offsets are known.
  void find_segments() {
    constexpr size_t kShort = 4;
    for (int64_t k = 0; k < length; k++) {
      if (k == 0 || offsets[k] != offsets[k - 1] + 1) segments.push_back({k, offsets[k], 0});
      segments.back().length++;
    }
    if (segments.size() * kShort > offsets.size()) segments.clear();
  }
};

struct Stencil {
  int64_t rows, columns, nnz;
  const int32_t* starts;  // null: row i starts at i * D
  const uint8_t* kinds;   // null: all of kind 0
  const int32_t* ranks;
  std::vector<int64_t> offsets;
  std::vector<StencilKind> kind;
  int64_t least = 0, most = 0;

  Stencil(int64_t m, int64_t n, int64_t count, const int32_t* start_table, const uint8_t* kind_table,
          const int32_t* rank_table, int64_t num_kinds, const int64_t* diagonals, int64_t width)
      : rows(m), columns(n), nnz(count), starts(start_table), kinds(kind_table), ranks(rank_table),
        offsets(diagonals, diagonals + width), kind(num_kinds) {
    for (int64_t q = 0; q < num_kinds; q++) {
      StencilKind& one = kind[q];
      for (int64_t d = 0; d < width; d++) {
        const int32_t rank = ranks == nullptr ? static_cast<int32_t>(d) : ranks[q * width + d];
        require(rank == -1 || rank == static_cast<int32_t>(one.offsets.size()), "ranks: a diagonal is out of order");
        if (rank >= 0) one.offsets.push_back(offsets[d]);
      }
      one.length = static_cast<int64_t>(one.offsets.size());
      if (one.length == 0) continue;
      one.least = *std::min_element(one.offsets.begin(), one.offsets.end());
      one.most = *std::max_element(one.offsets.begin(), one.offsets.end());
      one.find_segments();
    }
    // Of all diagonals, also those of no kind: rows of several kinds are multiplied with every one of them.
    for (const int64_t offset : offsets) least = std::min(least, offset), most = std::max(most, offset);
  }

  const StencilKind& kind_of(int64_t row) const {
    const size_t number = kinds == nullptr ? 0 : kinds[row];
    require(number < kind.size(), "kinds: a row is of no kind");
    return kind[number];
  }

  int64_t start_of(int64_t row) const {
    return starts == nullptr ? row * static_cast<int64_t>(offsets.size()) : starts[row];
  }

  // How many rows from `first` on are of one kind, at most `limit`.
  int64_t run_length(int64_t first, int64_t limit) const {
    if (kinds == nullptr) return limit;
    const uint8_t* from = kinds + first;
    const uint64_t eight = from[0] * uint64_t{0x0101010101010101};
    int64_t length = 1;
    for (uint64_t next; length + 8 <= limit; length += 8) {
      std::memcpy(&next, from + length, 8);
      if (next != eight) break;
    }
    while (length < limit && from[length] == from[0]) length++;
    return length;
  }
};

constexpr int64_t kLongestRun = 256;  // its part of the values stays in the first-level cache, or in the second

// Calls `run(kind, first row, last row, position of its values)` for a run, after a check.
template <class Run>
inline void visit_run(const Stencil& a, int64_t first, int64_t last, Run&& run) {
  const StencilKind& kind = a.kind_of(first);
  const int64_t start = a.start_of(first);
  require(start >= 0 && start + (last - first) * kind.length <= a.nnz, "starts: a row is outside the values");
  require(kind.length == 0 || (first + kind.least >= 0 && last - 1 + kind.most < a.columns),
          "kinds: an entry is outside the matrix");
  run(kind, first, last, start);
}

// The same for the runs of rows [begin, end).
template <class Run>
void over_runs(const Stencil& a, int64_t begin, int64_t end, Run&& run) {
  for (int64_t first = begin; first < end;) {
    const int64_t last = first + a.run_length(first, std::min(end - first, kLongestRun));
    visit_run(a, first, last, run);
    first = last;
  }
}

template <class T>
inline typename Pack<T>::type collect_entries(const T* from, int64_t stride) {
  return Pack<T>::collect([&](int lane) { return from[lane * stride]; });
}

// Rows [first, last) of one kind with `Length` entries, or as many as the kind has if `Length` is 0.
template <class T, int Length>
void multiply_run(const StencilKind& kind, int64_t first, int64_t last, const T* values, const T* v, T* y) {
  using P = Pack<T>;
  const int64_t length = Length > 0 ? Length : kind.length;
  const int64_t* offsets = kind.offsets.data();
  if (last - first < P::width) {
    for (int64_t i = first; i < last; i++, values += length) {
      T sum{};
      for (int64_t k = 0; k < length; k++) sum += multiply(values[k], v[i + offsets[k]]);
      y[i] = sum;
    }
    return;
  }
  for (int64_t i = first; i < last; i += P::width) {
    i = std::min(i, last - P::width);  // the last ones once more, rather than one by one
    const T* from = values + (i - first) * length;
    typename P::type sum{};
#pragma GCC unroll 9
    for (int64_t k = 0; k < length; k++) {
      sum += P::product(collect_entries<T>(from + k, length), P::load(v + i + offsets[k]));
    }
    P::store(y + i, sum);
  }
}

template <class T>
void multiply_run(const StencilKind& kind, int64_t first, int64_t last, const T* values, const T* v, T* y) {
  switch (kind.length) {
    case 3: return multiply_run<T, 3>(kind, first, last, values, v, y);
    case 4: return multiply_run<T, 4>(kind, first, last, values, v, y);
    case 5: return multiply_run<T, 5>(kind, first, last, values, v, y);
    case 6: return multiply_run<T, 6>(kind, first, last, values, v, y);
    case 7: return multiply_run<T, 7>(kind, first, last, values, v, y);
    case 9: return multiply_run<T, 9>(kind, first, last, values, v, y);
    default: return multiply_run<T, 0>(kind, first, last, values, v, y);
  }
}

// Rows [first, last) of a kind, each as a sum over its segments.
template <class T>
void multiply_segments(const StencilKind& kind, int64_t first, int64_t last, const T* values, const T* v, T* y) {
  using P = Pack<T>;
  for (int64_t i = first; i < last; i++, values += kind.length) {
    typename P::type sum{};
    for (const StencilKind::Segment& s : kind.segments) {
      const T *a = values + s.entry, *x = v + i + s.offset;
      int64_t k = 0;
      for (; k + P::width <= s.length; k += P::width) sum += P::product(P::load(a + k), P::load(x + k));
      if (k == s.length) continue;
      const int rest = static_cast<int>(s.length - k);
      sum += P::product(P::load_n(a + k, rest), P::load_n(x + k, rest));
    }
    y[i] = P::sum(sum);
  }
}

// Neighbouring rows of several kinds, all of whose diagonals lie inside, stored or not.
template <class T>
void multiply_mixed(const Stencil& a, int64_t first, const T* data, const T* v, T* y) {
  using P = Pack<T>;
  const int64_t width = static_cast<int64_t>(a.offsets.size());
  const T* from[P::width];
  const int32_t* ranks[P::width];
  for (int lane = 0; lane < P::width; lane++) {
    const StencilKind& kind = a.kind_of(first + lane);
    const int64_t start = a.start_of(first + lane);
    require(start >= 0 && start + kind.length <= a.nnz, "starts: a row is outside the values");
    from[lane] = data + start;
    ranks[lane] = a.ranks + a.kinds[first + lane] * width;
  }
  typename P::type sum{};
  for (int64_t d = 0; d < width; d++) {
    const auto entry = [&](int lane) { return ranks[lane][d] < 0 ? T{} : from[lane][ranks[lane][d]]; };
    sum += P::product(P::collect(entry), P::load(v + first + a.offsets[d]));
  }
  P::store(y + first, sum);
}

// Rows [begin, end) of `y = A v`.
template <class T>
void multiply_stencil(const Stencil& a, int64_t begin, int64_t end, const T* data, const T* v, T* y) {
  const auto run = [&](const StencilKind& kind, int64_t first, int64_t last, int64_t start) {
    multiply_run<T>(kind, first, last, data + start, v, y);
  };
  constexpr int width = Pack<T>::width;
  // Whether after at most two more short runs a long one begins, as at the end of a line of a grid.
  const auto long_run_follows = [&](int64_t at) {
    for (int runs = 0; runs < 3 && at < end; runs++) {
      const int64_t length = a.run_length(at, std::min<int64_t>(end - at, width));
      if (length >= width) return true;
      at += length;
    }
    return false;
  };
  for (int64_t first = begin; first < end;) {
    int64_t length = a.run_length(first, std::min(end - first, kLongestRun));
    if (length < width && !a.kind_of(first).segments.empty()) {
      visit_run(a, first, first + length, [&](const StencilKind& kind, int64_t from, int64_t to, int64_t start) {
        multiply_segments<T>(kind, from, to, data + start, v, y);
      });
      first += length;
      continue;
    }
    const bool inside = first + a.least >= 0 && first + width - 1 + a.most < a.columns;
    if (length < width && inside && first + width <= end && !long_run_follows(first + length)) {
      multiply_mixed<T>(a, first, data, v, y);
      length = width;
    } else {
      visit_run(a, first, first + length, run);
    }
    first += length;
  }
}

// Rows [first, last) of a kind of `y += A^T v`, segment by segment.
template <class T>
void add_transposed_segments(const StencilKind& kind, int64_t first, int64_t last, const T* values, const T* v, T* y) {
  using P = Pack<T>;
  for (int64_t i = first; i < last; i++, values += kind.length) {
    for (const StencilKind::Segment& s : kind.segments) {
      const T* a = values + s.entry;
      T* to = y + i + s.offset;
      int64_t k = 0;
      for (; k + P::width <= s.length; k += P::width) {
        P::store(to + k, P::load(to + k) + P::product(v[i], P::load(a + k)));
      }
      if (k == s.length) continue;
      const int rest = static_cast<int>(s.length - k);
      P::store_n(to + k, P::load_n(to + k, rest) + P::product(v[i], P::load_n(a + k, rest)), rest);
    }
  }
}

template <class T>
void add_transposed_run(const StencilKind& kind, int64_t first, int64_t last, const T* values, const T* v, T* y) {
  using P = Pack<T>;
  const int64_t length = kind.length;
  if (last - first < P::width) {
    for (int64_t i = first; i < last; i++, values += length) {
      for (int64_t k = 0; k < length; k++) y[i + kind.offsets[k]] += multiply(values[k], v[i]);
    }
    return;
  }
  for (int64_t k = 0; k < length; k++) {
    T* to = y + kind.offsets[k];
    const T* from = values + k;
    int64_t i = first;
    for (; i + P::width <= last; i += P::width, from += P::width * length) {
      P::store(to + i, P::load(to + i) + P::product(collect_entries<T>(from, length), P::load(v + i)));
    }
    if (i == last) continue;
    const int some = static_cast<int>(last - i);
    const auto entry = [&](int lane) { return lane < some ? from[lane * length] : T{}; };
    P::store_n(to + i, P::load_n(to + i, some) + P::product(P::collect(entry), P::load_n(v + i, some)), some);
  }
}

// The same for a block of columns: v is (n, columns), y is (m, columns).
template <class T>
void multiply_stencil(const Stencil& a, int64_t begin, int64_t end, int64_t columns, const T* data, const T* v, T* y) {
  if (columns == 1) return multiply_stencil<T>(a, begin, end, data, v, y);
  over_runs(a, begin, end, [&](const StencilKind& kind, int64_t first, int64_t last, int64_t start) {
    const T* values = data + start;
    for (int64_t i = first; i < last; i++, values += kind.length) {
      const auto entry = [&](int64_t k) { return std::pair<T, int64_t>(values[k], i + kind.offsets[k]); };
      combine_rows<T>(kind.length, entry, v, columns, y + i * columns);
    }
  });
}

// `y = A^T v`; y starts from zero.
template <class T>
void multiply_stencil_transposed(const Stencil& a, int64_t columns, const T* data, const T* v, T* y) {
  over_runs(a, 0, a.rows, [&](const StencilKind& kind, int64_t first, int64_t last, int64_t start) {
    const T* values = data + start;
    if (columns == 1) {
      const bool by_segments = last - first < Pack<T>::width && !kind.segments.empty();
      return (by_segments ? add_transposed_segments<T> : add_transposed_run<T>)(kind, first, last, values, v, y);
    }
    for (int64_t i = first; i < last; i++, values += kind.length) {
      for (int64_t k = 0; k < kind.length; k++) {
        add_row<T>(values[k], v + i * columns, columns, y + (i + kind.offsets[k]) * columns);
      }
    }
  });
}

}  // namespace sparsesolve

#endif  // SPARSESOLVE_STENCIL_H_
