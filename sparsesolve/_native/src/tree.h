// The assembly tree as the kernels use it, derived from one table and checked against the sizes of all others.
//
// Table `fronts`, int32, shape (N, 4), children before parents in postorder, one row a front:
//   pivots k, border m, number of children, number of matrix entries.
// Everything else follows: pivots, borders, entries and factor blocks of consecutive fronts are consecutive, and the
// children of a front are the last ones not yet taken. A table that does not add up is refused, so that no index
// computed from it can leave a buffer. Cost: O(N) a call, nanoseconds a front.
//
// Schur complements live on two stacks that grow towards each other in one array: fronts at even depth push left, at
// odd depth right. The children of a front are on top of the other stack than its own block goes to, so that nothing is
// ever moved. (Pending blocks at the depth of a front's children are its children.)

#ifndef SPARSESOLVE_TREE_H_
#define SPARSESOLVE_TREE_H_

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <vector>

namespace sparsesolve {

struct Front {
  int32_t pivots, border, children, entries, parent;
  bool right;             // which stack its Schur complement goes to
  int64_t first;          // place of its first pivot
  int64_t border_start;   // in the border tables
  int64_t entry_start;    // in the entry tables
  int64_t factor_start;   // in the factors
  int64_t factor_size;    // entries of its blocks there
  int64_t schur_start;    // in the working array
  int64_t schur_size() const { return static_cast<int64_t>(border) * border; }
};

struct TreeSizes {
  int64_t unknowns, borders, entries, factors;  // lengths that the tables must add up to; entries < 0: not checked
};

struct Tree {
  std::vector<Front> fronts;
  int64_t stack_size = 0, space_size = 0;
  int64_t largest_updates = 0;  // border rows that wait for their parents at the same time
  int32_t largest_border = 0, largest_front = 0;
};

inline void require(bool condition, const char* message) {
  if (!condition) throw std::invalid_argument(message);
}

// Factor entries of a front with k pivots and m border rows.
using FactorSize = int64_t (*)(int64_t k, int64_t m);

inline Tree read_tree(const int32_t* table, int64_t count, const TreeSizes& sizes, FactorSize factor_size) {
  Tree tree;
  tree.fronts.resize(count);
  std::vector<int32_t> waiting;
  int64_t updates = 0;
  Front next{};
  for (int64_t s = 0; s < count; s++) {
    Front& f = tree.fronts[s];
    f = next;
    f.pivots = table[4 * s], f.border = table[4 * s + 1], f.children = table[4 * s + 2], f.entries = table[4 * s + 3];
    f.parent = -1;
    require(f.pivots > 0 && f.border >= 0 && f.entries >= 0, "fronts: a size is negative, or there is no pivot");
    require(f.first + f.pivots + f.border <= sizes.unknowns, "fronts: a front reaches beyond the last unknown");
    require(f.children >= 0 && f.children <= static_cast<int64_t>(waiting.size()), "fronts: a child is missing");
    for (int32_t c = 0; c < f.children; c++) {
      tree.fronts[waiting.back()].parent = static_cast<int32_t>(s);
      updates -= tree.fronts[waiting.back()].border;
      waiting.pop_back();
    }
    waiting.push_back(static_cast<int32_t>(s));
    updates += f.border;
    tree.largest_updates = std::max(tree.largest_updates, updates);
    f.factor_size = factor_size(f.pivots, f.border);
    next.first = f.first + f.pivots;
    next.border_start = f.border_start + f.border;
    next.entry_start = f.entry_start + f.entries;
    next.factor_start = f.factor_start + f.factor_size;
    require(next.factor_start <= sizes.factors, "fronts: the factors are longer than their buffer");
    require(next.border_start <= sizes.borders, "fronts: the borders are longer than their table");
    tree.largest_border = std::max(tree.largest_border, f.border);
    tree.largest_front = std::max(tree.largest_front, f.border + f.pivots);
  }
  require(next.first == sizes.unknowns, "fronts: the pivots do not add up to the number of unknowns");
  require(next.border_start == sizes.borders, "fronts: the borders do not add up to their table");
  require(sizes.entries < 0 || next.entry_start == sizes.entries, "fronts: the entries do not add up");
  require(next.factor_start == sizes.factors, "fronts: the factors do not add up to their buffer");
  return tree;
}

// Which of the two stacks the Schur complement of each front goes to.
inline void choose_sides(Tree& tree) {
  for (int64_t s = static_cast<int64_t>(tree.fronts.size()) - 1; s >= 0; s--) {
    Front& f = tree.fronts[s];
    require(f.parent >= 0 || f.border == 0, "fronts: a root has a border");
    f.right = f.parent >= 0 && !tree.fronts[f.parent].right;
  }
}

// Places for the Schur complements of the fronts begin to end - 1, a subtree or the whole tree: `schur_start` of each.
// Returns the size of the working array. `size(front)` is what a front leaves there.
template <class Size>
int64_t lay_out_stacks(Tree& tree, int64_t begin, int64_t end, Size&& size) {
  std::vector<int64_t> pending;
  int64_t top[2] = {0, 0}, most = 0;
  for (int64_t s = begin; s < end; s++) {
    Front& f = tree.fronts[s];
    f.schur_start = top[f.right];
    top[f.right] += size(f);
    most = std::max(most, top[0] + top[1]);
    require(most < int64_t{1} << 40, "fronts: the working array would exceed a million million entries");
    for (int32_t c = 0; c < f.children; c++) {
      top[!f.right] -= pending.back();
      pending.pop_back();
    }
    pending.push_back(size(f));
  }
  for (int64_t s = begin; s < end; s++) {
    Front& f = tree.fronts[s];
    if (f.right) f.schur_start = most - f.schur_start - size(f);
  }
  return most;
}

}  // namespace sparsesolve

#endif  // SPARSESOLVE_TREE_H_
