// A team of threads that shares the chunks of one piece of work after another.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <type_traits>
#include <vector>

namespace trunkline {

// The calling thread works too and never waits for a thread that has not begun: where the system gives the
// cores to others, it does the chunks alone. Idle threads spin for some microseconds, then sleep.
class Team {
   public:
    explicit Team(int threads);
    ~Team();
    Team(const Team&) = delete;
    Team& operator=(const Team&) = delete;

    int threads() const { return static_cast<int>(workers_.size()) + 1; }

    // At most so many threads take part from here on: at least 1, at most threads().
    void limit(int threads);

    // Calls body(chunk, thread) once for each chunk in [0, chunks) and returns when all are done.
    // Calls of one thread number do not overlap. `chunks` is below a million.
    template <typename Body>
    void parallel_for(int chunks, Body&& body) {
        using Plain = std::remove_reference_t<Body>;
        if (chunks <= 1 || limit_ == 1) {
            for (int chunk = 0; chunk < chunks; chunk++) body(chunk, 0);
            return;
        }
        share(chunks, [](void* context, int chunk, int thread) { (*static_cast<Plain*>(context))(chunk, thread); },
              const_cast<void*>(static_cast<const void*>(&body)));
    }

   private:
    using Call = void (*)(void* context, int chunk, int thread);

    void share(int chunks, Call call, void* context);
    void help(int thread);
    void work(int thread);
    void wait_for_work(uint64_t seen);
    void wait_until_done(int chunks);

    // epoch (24 bits), chunks (20 bits), next chunk (20 bits): one addition takes a chunk of a known piece of work.
    alignas(64) std::atomic<uint64_t> ticket_{0};
    alignas(64) std::atomic<int32_t> done_{0};
    alignas(64) std::atomic<int32_t> bell_{0};
    std::atomic<int32_t> sleepers_{0};
    std::atomic<int32_t> caller_sleeps_{0};
    alignas(64) Call call_ = nullptr;
    void* context_ = nullptr;
    std::atomic<int> limit_{1};
    std::atomic<bool> stopping_{false};
    std::vector<std::thread> workers_;
};

}  // namespace trunkline
