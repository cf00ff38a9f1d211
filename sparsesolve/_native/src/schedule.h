// Which parts of the assembly tree are worked on at the same time.
//
// Subtrees that cost less than a share of the whole are independent of each other and go to one thread each, costly ones
// first. What is above them, few fronts and large, is visited in postorder by all threads together. The operations and
// their order are the same however the tree is cut. Reference: A. Geist, E. Ng, Task scheduling for parallel sparse
// Cholesky factorization, Int. J. Parallel Programming 18 (1989) 291-314, doi:10.1007/BF01379183.

#ifndef SPARSESOLVE_SCHEDULE_H_
#define SPARSESOLVE_SCHEDULE_H_

#include <vector>

#include "tree.h"

namespace sparsesolve {

// Fronts begin to end - 1, in postorder; the last is the root, or all roots are among them.
struct Subtree {
  int64_t begin, end;
};

struct Schedule {
  std::vector<Subtree> subtrees;      // costly ones first
  std::vector<int32_t> top;           // fronts above all subtrees, in postorder
  std::vector<int32_t> children;      // theirs, in postorder, one after the other
  std::vector<int64_t> child_start;   // where those of each begin
};

constexpr int kSubtreesAWorker = 8;

template <class Cost>
Schedule make_schedule(const Tree& tree, int workers, Cost&& cost) {
  const int64_t count = static_cast<int64_t>(tree.fronts.size());
  Schedule out;
  if (workers <= 1) {
    out.subtrees.push_back({0, count});
    return out;
  }
  std::vector<double> total(count, 0.0);
  std::vector<int32_t> size(count, 1);
  double sum = 0;
  for (int64_t s = 0; s < count; s++) {
    const Front& f = tree.fronts[s];
    const double own = cost(f);
    sum += own;
    total[s] += own;
    if (f.parent >= 0) total[f.parent] += total[s], size[f.parent] += size[s];
  }
  const double limit = sum / (kSubtreesAWorker * workers);
  std::vector<int32_t> waiting;
  for (int64_t s = 0; s < count; s++) {
    const Front& f = tree.fronts[s];
    if (total[s] > limit) {
      out.top.push_back(static_cast<int32_t>(s));
      out.child_start.push_back(static_cast<int64_t>(out.children.size()));
      out.children.insert(out.children.end(), waiting.end() - f.children, waiting.end());
      waiting.resize(waiting.size() - f.children);
    } else if (f.parent < 0 || total[f.parent] > limit) {
      out.subtrees.push_back({s + 1 - size[s], s + 1});
    } else {
      continue;
    }
    waiting.push_back(static_cast<int32_t>(s));
  }
  std::sort(out.subtrees.begin(), out.subtrees.end(),
            [&](const Subtree& a, const Subtree& b) { return total[a.end - 1] > total[b.end - 1]; });
  return out;
}

// Stacks for the subtrees: every worker has one, none holds what a subtree hands to a front above.
inline void lay_out_stacks(Tree& tree, const Schedule& schedule) {
  choose_sides(tree);
  for (const Subtree& part : schedule.subtrees) {
    const auto size = [&](const Front& f) { return &f == &tree.fronts[part.end - 1] ? 0 : f.schur_size(); };
    tree.stack_size = std::max(tree.stack_size, lay_out_stacks(tree, part.begin, part.end, size));
  }
}

}  // namespace sparsesolve

#endif  // SPARSESOLVE_SCHEDULE_H_
