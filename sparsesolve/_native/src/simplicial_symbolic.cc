// Structure of L and U of a matrix that is eliminated in the given order, called from the host when a plan is made.
//
// Column k of the factors is what can be reached from the entries of A(:, k) through the columns of L before it. Column
// j of L is searched only up to its first row r with u_jr != 0: later rows are found through column r (symmetric
// pruning). References: J. R. Gilbert, T. Peierls, SIAM J. Sci. Stat. Comput. 9 (1988) 862-874; S. C. Eisenstat, J. W. H.
// Liu, SIAM J. Matrix Anal. Appl. 13 (1992) 202-211, doi:10.1137/0613016.

#include <algorithm>
#include <cstdint>
#include <vector>

#define SPARSESOLVE_EXPORT extern "C" __attribute__((visibility("default")))

// Columns of A in CSC, rows in any order. Writes the starts of the columns of L (below the diagonal) and U (above it), n
// + 1 each, and their rows, increasing. Returns 0; 1 if l_row or u_row is too short, 2 for a row outside, 3 for memory.
SPARSESOLVE_EXPORT int sparsesolve_symbolic_lu(int64_t n, const int64_t* indptr, const int32_t* indices, int64_t l_most,
                                               int64_t u_most, int64_t* l_start, int64_t* u_start, int32_t* l_row,
                                               int32_t* u_row) try {
  std::vector<int32_t> seen(n, -1), waiting;
  std::vector<int64_t> searched(n);  // end of the part of column j of L that is still searched
  std::vector<char> pruned(n, 0);
  int64_t l = 0, u = 0;
  l_start[0] = u_start[0] = 0;
  for (int64_t k = 0; k < n; k++) {
    const auto visit = [&](int32_t row) {
      if (seen[row] == k) return true;
      seen[row] = static_cast<int32_t>(k);
      if (row > k) {
        if (l == l_most) return false;
        l_row[l++] = row;
      } else if (row < k) {
        if (u == u_most) return false;
        u_row[u++] = row;
        waiting.push_back(row);
      }
      return true;
    };
    for (int64_t e = indptr[k]; e < indptr[k + 1]; e++) {
      if (indices[e] < 0 || indices[e] >= n) return 2;
      if (!visit(indices[e])) return 1;
    }
    while (!waiting.empty()) {
      const int32_t j = waiting.back();
      waiting.pop_back();
      for (int64_t e = l_start[j]; e < searched[j]; e++) {
        if (!visit(l_row[e])) return 1;
      }
    }
    std::sort(l_row + l_start[k], l_row + l);
    std::sort(u_row + u_start[k], u_row + u);
    l_start[k + 1] = searched[k] = l;
    u_start[k + 1] = u;
    for (int64_t e = u_start[k]; e < u; e++) {
      const int32_t j = u_row[e];
      if (pruned[j]) continue;
      const int32_t* end = l_row + l_start[j + 1];
      const int32_t* found = std::lower_bound(l_row + l_start[j], l_row + l_start[j + 1], static_cast<int32_t>(k));
      if (found == end || *found != k) continue;
      searched[j] = found - l_row + 1;
      pruned[j] = 1;
    }
  }
  return 0;
} catch (...) {
  return 3;
}

// Which columns are computed together: 4 or 2 from k on when they share so many of U's rows that it pays, 1 otherwise.
// Rows of U are reordered in place: a column's own ones, the shared ones, those inside the group. `together` and `own`
// hold n numbers. Rows must lie in [0, n).
SPARSESOLVE_EXPORT int sparsesolve_group_columns(int64_t n, const int64_t* u_start, int32_t* u_row,
                                                 const int64_t* block, int32_t* together, int32_t* own) try {
  std::vector<int32_t> count(n, 0);
  for (int64_t k = 0; k < n;) {
    int64_t group = 1;
    for (const int64_t size : {4, 2}) {
      if (k + size > n || block[k] != block[k + size - 1]) continue;
      int64_t shared = 0, total = 0;
      for (int64_t e = u_start[k]; e < u_start[k + size]; e++) {
        if (u_row[e] >= k) continue;
        total++;
        shared += ++count[u_row[e]] == size;
      }
      const bool pays = shared >= 2 && 2 * shared * size >= total;
      if (pays) {
        for (int64_t g = k; g < k + size; g++) {
          const auto begin = u_row + u_start[g], end = u_row + u_start[g + 1];
          const auto shares = std::stable_partition(begin, end, [&](int32_t row) { return row < k && count[row] < size; });
          own[g] = static_cast<int32_t>(shares - begin);
        }
        group = size;
      }
      for (int64_t e = u_start[k]; e < u_start[k + size]; e++) count[u_row[e]] = 0;
      if (pays) break;
    }
    for (int64_t g = k; g < k + group; g++) together[g] = static_cast<int32_t>(g == k ? group : 1);
    if (group == 1) own[k] = 0;
    k += group;
  }
  return 0;
} catch (...) {
  return 3;
}
