// The plan of the simplicial LU as its kernels read it: tables, their layout, and the check of all of them.
//
// The matrix, its rows and columns brought into elimination order, is block upper triangular:
//
//   A = [ A11 A12 ...]     A_bb = L_b U_b,  the entries above the diagonal blocks stay as they are ("off")
//       [     A22 ...]
//
// Factors of one matrix, F numbers: L below the diagonal by columns, divided by the pivots; U above the diagonal by
// columns; off by columns; inverse pivots (n). Rows are scaled by powers of two; without row exchanges column scaling
// changes nothing but the size below which a pivot counts as zero, so that alone is taken from the columns.
//
// Tables, int32, not batched:
//   columns (n + 1, 8)   where column k begins in l_row, u_row, in_source, off_source and l_runs; the length of the
//                        chain that begins at k: columns k, k+1, ... of L each with the structure of the next plus its
//                        pivot; how many columns from k on (1, 2 or 4) are computed together; and how many of U's rows
//                        in column k are its own, before those that the columns computed together share
//   l_row, u_row         places of the entries, increasing in a column of L and in each part of a column of U
//   in_source, in_row    entries inside the diagonal blocks by columns: which matrix value, at which place
//   off_source, off_row  entries above them
//   l_runs (runs, 2)     L's rows once more as runs (first, length); empty if the plan is too scattered for them
//   blocks (B + 1)       where diagonal blocks begin
//   indptr (n + 1)       of the pattern, CSR
//   row_order, col_order (n)   matrix row and column at each place

#ifndef SPARSESOLVE_SIMPLICIAL_H_
#define SPARSESOLVE_SIMPLICIAL_H_

#include <cstring>
#include <limits>

#include "buffers.h"

namespace sparsesolve {

struct Column {
  int32_t l, u, in, off, run, chain, together, own;
};

struct Simplicial {
  int64_t n, l_size, u_size, in_size, off_size, run_size, block_count;
  const Column* columns;
  const int32_t *l_row, *u_row, *in_source, *in_row, *off_source, *off_row, *l_runs, *blocks, *indptr, *row_order,
      *col_order;
  int64_t factor_size() const { return l_size + u_size + off_size + n; }
  bool runs() const { return run_size > 0; }
};

// Where the four parts of one matrix's factors begin.
template <class V>
struct SimplicialFactors {
  V *l, *u, *off, *inverse;
  SimplicialFactors(const Simplicial& t, V* all)
      : l(all), u(all + t.l_size), off(u + t.u_size), inverse(off + t.off_size) {}
};

inline void check_columns(const Simplicial& t) {
  const Column *c = t.columns, &first = c[0], &last = c[t.n];
  require(first.l == 0 && first.u == 0 && first.in == 0 && first.off == 0 && first.run == 0,
          "columns: the first must begin at zero");
  require(last.l == t.l_size && last.u == t.u_size && last.in == t.in_size && last.off == t.off_size &&
              last.run == t.run_size,
          "columns: the last must end with the tables");
  // A row of the table at a time: starts do not decrease; chain, together and own lie in their bounds.
  typedef int32_t Row __attribute__((vector_size(sizeof(Column))));
  constexpr int32_t kAny = std::numeric_limits<int32_t>::max();
  const int32_t n = static_cast<int32_t>(t.n);
  const Row low = {0, 0, 0, 0, 0, 1, 1, 0}, step = {0, 0, 0, 0, 0, 1, 1, 0}, three = {-1, -1, -1, -1, -1, -1, 3, -1};
  Row high = {kAny, kAny, kAny, kAny, kAny, n, n, kAny};  // chain and together end with the matrix
  Row bad = {}, here;
  std::memcpy(&here, c, sizeof(Row));
  const auto shared = [c](int64_t k) { return int64_t{c[k + 1].u} - c[k].u - c[k].own; };
  bool good = true;
  for (int64_t k = 0; k < t.n; k++) {
    Row next;
    std::memcpy(&next, c + k + 1, sizeof(Row));
    Row after = next;
    after[5] = after[6] = after[7] = kAny;
    bad |= (here < low) | (here > high) | (here > after) | (here == three);
    high -= step;
    here = next;
    const Column &a = c[k], &b = c[k + 1];
    good &= (shared(k) >= 0) & (a.together <= 4);
    if (a.together > 1) {
      for (int64_t g = 1; good && g < std::min<int64_t>(a.together, t.n - k); g++) good &= shared(k + g) >= shared(k);
    }
    // The columns of a chain shrink by one entry each.
    if (a.chain > 1) {
      good &= (b.chain + int64_t{1} == a.chain) &
              (int64_t{b.l} - a.l == int64_t{c[std::min(k + 2, t.n)].l} - b.l + 1);
    }
  }
  for (int i = 0; i < 8; i++) good &= bad[i] == 0;
  require(good, "columns: a column ends before it begins or does not continue its chain or group");
}

inline void check_runs(const Simplicial& t) {
  bool good = true;
  for (int64_t k = 0; k < t.n; k++) {
    int64_t total = 0;
    for (int64_t r = t.columns[k].run; r < t.columns[k + 1].run; r++) {
      const int64_t first = t.l_runs[2 * r], length = t.l_runs[2 * r + 1];
      good &= (first >= 0) & (length >= 0) & (first + length <= t.n);
      total += length;
    }
    good &= total == t.columns[k + 1].l - t.columns[k].l;
  }
  require(good, "l_runs: a run leaves the matrix or its column");
}

inline void check_blocks(const Simplicial& t) {
  require(t.block_count >= 0 && t.blocks[0] == 0 && t.blocks[t.block_count] == t.n, "blocks must cover the matrix");
  bool good = true;
  for (int64_t b = 0; b < t.block_count; b++) good &= t.blocks[b] <= t.blocks[b + 1];
  require(good, "blocks must not decrease");
}

// Whether groups of a batch are enough work for several threads: a thread costs some microseconds to wake.
inline bool worth_sharing(int64_t groups, int64_t factor_size) { return groups * factor_size > 4000; }

// Whether `numbers` of each member, interleaved, lie in the cache: a member at a time is faster than many from memory.
template <class T>
bool worth_interleaving(int64_t numbers, int lanes) {
  constexpr int64_t kLargestGroup = int64_t{4} << 20;  // bytes
  return numbers * lanes * static_cast<int64_t>(sizeof(T)) <= kLargestGroup;
}

// The tables that factorization and solve share.
struct SimplicialBuffers {
  const ffi::AnyBuffer &columns, &l_row, &u_row, &off_row, &l_runs, &row_order;
};

inline Simplicial read_simplicial(const SimplicialBuffers& buffers) {
  const auto columns = table(buffers.columns, 2, "columns");
  const auto l_row = table(buffers.l_row, 1, "l_row");
  const auto u_row = table(buffers.u_row, 1, "u_row");
  const auto off_row = table(buffers.off_row, 1, "off_row");
  const auto l_runs = table(buffers.l_runs, 2, "l_runs");
  const auto row_order = table(buffers.row_order, 1, "row_order");
  static_assert(sizeof(Column) == 8 * sizeof(int32_t), "a row of the table is a Column");
  require(columns.core(0) >= 1 && columns.core(1) == 8, "columns must have n + 1 rows of eight numbers");
  require(l_runs.core(1) == 2, "l_runs must hold pairs");
  Simplicial t{};
  t.n = columns.core(0) - 1;
  t.l_size = l_row.size, t.u_size = u_row.size, t.off_size = off_row.size, t.run_size = l_runs.core(0);
  t.columns = reinterpret_cast<const Column*>(columns.data);
  t.in_size = t.columns[t.n].in;
  t.l_row = l_row.data, t.u_row = u_row.data, t.off_row = off_row.data, t.l_runs = l_runs.data;
  t.row_order = row_order.data;
  require(row_order.size == t.n, "row_order must hold one row a place");
  check_columns(t);
  if (t.runs()) check_runs(t);
  require_below(t.l_row, t.l_size, t.n, "l_row: a row is outside the matrix");
  require_below(t.u_row, t.u_size, t.n, "u_row: a row is outside the matrix");
  require_below(t.off_row, t.off_size, t.n, "off_row: a row is outside the matrix");
  require_below(t.row_order, t.n, t.n, "row_order: a row is outside the matrix");
  return t;
}

// The tables of a solve besides.
inline void read_blocks(Simplicial& t, const ffi::AnyBuffer& blocks_buffer, const ffi::AnyBuffer& col_order_buffer) {
  const auto blocks = table(blocks_buffer, 1, "blocks");
  const auto col_order = table(col_order_buffer, 1, "col_order");
  require(blocks.size >= 1, "blocks must hold at least one number");
  t.blocks = blocks.data, t.block_count = blocks.size - 1, t.col_order = col_order.data;
  check_blocks(t);
  require(col_order.size == t.n, "col_order must hold one column a place");
  require_below(t.col_order, t.n, t.n, "col_order: a column is outside the matrix");
}

// The tables of a factorization besides.
inline void read_entries(Simplicial& t, const ffi::AnyBuffer& in_source, const ffi::AnyBuffer& in_row,
                         const ffi::AnyBuffer& off_source, const ffi::AnyBuffer& indptr_buffer) {
  const auto source = table(in_source, 1, "in_source");
  const auto row = table(in_row, 1, "in_row");
  const auto above = table(off_source, 1, "off_source");
  const auto indptr = table(indptr_buffer, 1, "indptr");
  t.in_source = source.data, t.in_row = row.data, t.off_source = above.data, t.indptr = indptr.data;
  require(source.size == t.in_size && row.size == t.in_size && above.size == t.off_size,
          "the entry tables must be as long as columns says");
  require(indptr.size == t.n + 1, "indptr must have n + 1 numbers");
  const int64_t nnz = indptr.data[t.n];
  bool sorted = indptr.data[0] == 0;
  for (int64_t i = 0; i < t.n; i++) sorted &= indptr.data[i] <= indptr.data[i + 1];
  require(sorted, "indptr must begin at zero and not decrease");
  require_below(t.in_source, t.in_size, nnz, "in_source: an entry is outside the values");
  require_below(t.off_source, t.off_size, nnz, "off_source: an entry is outside the values");
  require_below(t.in_row, t.in_size, t.n, "in_row: a row is outside the matrix");
}

}  // namespace sparsesolve

#endif  // SPARSESOLVE_SIMPLICIAL_H_
