// Threads of a call: the calling one and those of XLA's pool that are free.
//
//   Team team(pool, wanted);                 // asks for wanted - 1 helpers and goes on at once
//   team.loop(count, [&](int64_t chunk, int worker) { ... });
//
// The calling thread works on every loop and finishes it alone where no helper has come, so that a pool that is busy,
// small or absent costs nothing but time: nobody ever waits for a thread that has not started. A helper that comes late
// joins the loop that is running, one that comes after the end leaves. Chunks are what the data say, never what the
// number of threads says, so that results do not depend on it. Loops are not nested, and only the calling thread
// starts them. What a chunk throws is thrown by `loop`, after all chunks that had begun have ended.
//
// One 64-bit word holds the number of the loop and how many chunks wait; to take a chunk is to swap the word. A helper
// that still looks at an old loop finds another number there and takes nothing.

#ifndef SPARSESOLVE_PARALLEL_H_
#define SPARSESOLVE_PARALLEL_H_

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <utility>

#include "xla/ffi/api/ffi.h"

namespace sparsesolve {

// The most threads a call may use; zero: as many as XLA's pool has. Set through the library (SPARSESOLVE_NUM_THREADS).
extern std::atomic<int> thread_limit;

class Team {
 public:
  static constexpr int kMost = 64;

  // On one thread: loops run in order.
  Team() = default;

  Team(xla::ffi::ThreadPool& pool, int wanted) {
    size_ = std::max(1, std::min({wanted, allowed(pool), kMost}));
    if (size_ == 1) return;
    shared_ = std::make_shared<Shared>();
    const std::thread::id caller = std::this_thread::get_id();
    for (int helper = 1; helper < size_; helper++) {
      // Without a pool XLA runs the task here and now; then there is nobody to help.
      pool.Schedule([shared = shared_, caller] {
        if (std::this_thread::get_id() != caller) help(*shared);
      });
    }
  }

  ~Team() {
    if (!shared_) return;
    std::unique_lock<std::mutex> lock(shared_->mutex);
    shared_->closed.store(true);
    shared_->wake.notify_all();
    shared_->left.wait(lock, [&] { return shared_->helpers == 0; });
  }

  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  // Workers are numbered from 0, the caller, to size() - 1.
  int size() const { return size_; }

  static int allowed(const xla::ffi::ThreadPool& pool) {
    const int limit = thread_limit.load(std::memory_order_relaxed);
    return limit == 1 ? 1 : static_cast<int>(std::min<int64_t>(limit > 0 ? limit : kMost, pool.num_threads()));
  }

  template <class Body>
  void loop(int64_t count, Body&& body) {
    if (!shared_ || count < 2 || count >= kChunks) {
      for (int64_t i = 0; i < count; i++) body(i, 0);
      return;
    }
    Shared& s = *shared_;
    s.body.store([](void* f, int64_t i, int w) { (*static_cast<std::remove_reference_t<Body>*>(f))(i, w); });
    s.argument.store(const_cast<void*>(static_cast<const void*>(&body)));
    s.count.store(count);
    s.unfinished.store(count);
    number_++;
    s.word.store((number_ << 32) | static_cast<uint64_t>(count));
    if (s.sleeping.load() > 0) {
      const std::lock_guard<std::mutex> lock(s.mutex);
      s.wake.notify_all();
    }
    work(s, 0);
    for (int turn = 0; s.unfinished.load(std::memory_order_acquire) > 0; turn++) pause(turn);
    if (s.failed.load()) {
      s.failed.store(false);
      std::rethrow_exception(std::exchange(s.failure, nullptr));
    }
  }

 private:
  static constexpr int64_t kChunks = int64_t{1} << 31;
  static constexpr int kSpins = 4000;  // looks before a helper goes to sleep, some 100 microseconds

  struct Shared {
    std::atomic<uint64_t> word{0};
    std::atomic<void (*)(void*, int64_t, int)> body{nullptr};
    std::atomic<void*> argument{nullptr};
    std::atomic<int64_t> count{0}, unfinished{0};
    std::atomic<bool> closed{false}, failed{false};
    std::atomic<int> sleeping{0};
    std::mutex mutex;
    std::condition_variable wake, left;
    std::exception_ptr failure;
    int helpers = 0, arrivals = 0;
  };

  static void pause(int turn) {
    if (turn % 64 == 63) return std::this_thread::yield();
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }

  // Takes chunks of the loop that is running until none waits.
  static void work(Shared& s, int worker) {
    uint64_t word = s.word.load();
    while (static_cast<uint32_t>(word) > 0) {
      if (!s.word.compare_exchange_weak(word, word - 1)) continue;
      // Taken: the loop cannot end before this chunk has, and what describes it stays.
      const int64_t chunk = s.count.load() - static_cast<int64_t>(static_cast<uint32_t>(word));
      if (!s.failed.load(std::memory_order_relaxed)) {
        try {
          s.body.load()(s.argument.load(), chunk, worker);
        } catch (...) {
          const std::lock_guard<std::mutex> lock(s.mutex);
          if (!s.failure) s.failure = std::current_exception();
          s.failed.store(true);
        }
      }
      s.unfinished.fetch_sub(1, std::memory_order_acq_rel);
      word = s.word.load();
    }
  }

  static void help(Shared& s) {
    int worker;
    {
      const std::lock_guard<std::mutex> lock(s.mutex);
      if (s.closed.load()) return;
      s.helpers++;
      worker = ++s.arrivals;
    }
    const auto waiting = [&] { return static_cast<uint32_t>(s.word.load()) > 0 || s.closed.load(); };
    while (!s.closed.load()) {
      work(s, worker);
      for (int turn = 0; turn < kSpins && !waiting(); turn++) pause(turn);
      if (waiting()) continue;
      std::unique_lock<std::mutex> lock(s.mutex);
      s.sleeping++;
      s.wake.wait(lock, waiting);
      s.sleeping--;
    }
    const std::lock_guard<std::mutex> lock(s.mutex);
    if (--s.helpers == 0) s.left.notify_all();
  }

  int size_ = 1;
  uint64_t number_ = 0;
  std::shared_ptr<Shared> shared_;
};

// Calls `body(begin, count)` for strips of a line: rows or columns that do not depend on each other.
template <class Body>
void for_strips(Team& team, int64_t length, Body&& body) {
  constexpr int64_t kWidth = 192;
  team.loop((length + kWidth - 1) / kWidth, [&](int64_t strip, int) {
    const int64_t begin = strip * kWidth;
    body(static_cast<int>(begin), static_cast<int>(std::min(kWidth, length - begin)));
  });
}

}  // namespace sparsesolve

#endif  // SPARSESOLVE_PARALLEL_H_
