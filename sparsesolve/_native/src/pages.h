// Large pages for large buffers.
//
// A buffer of 32 MB or more is fresh memory on every call (the C library maps and unmaps it), and touching it for the
// first time costs a page fault every 4 KB: 25 ms for 40 MB in a virtual machine, as much as factorizing n = 65,536.
// Where the system lets programs ask for 2 MB pages, asking makes that 2 ms, and solves read the factors faster.

#ifndef SPARSESOLVE_PAGES_H_
#define SPARSESOLVE_PAGES_H_

#include <cstddef>
#include <cstdint>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace sparsesolve {

// A hint; failure is of no consequence.
inline void prefer_large_pages(void* memory, size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr uintptr_t kPage = uintptr_t{1} << 21;
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(memory) + kPage - 1) & ~(kPage - 1);
  const uintptr_t end = (reinterpret_cast<uintptr_t>(memory) + bytes) & ~(kPage - 1);
  if (end > begin) (void)madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#else
  (void)memory, (void)bytes;
#endif
}

}  // namespace sparsesolve

#endif  // SPARSESOLVE_PAGES_H_
