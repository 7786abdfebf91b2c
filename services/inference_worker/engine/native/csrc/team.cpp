#include "team.h"

#include <climits>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace trunkline {

namespace {

// About 50 µs: longer than the gaps inside a step, much shorter than a slice of the system's scheduler.
constexpr int SPINS = 1000;

constexpr int CHUNK_BITS = 20;
constexpr uint64_t CHUNK_MASK = (uint64_t{1} << CHUNK_BITS) - 1;

uint64_t epoch_of(uint64_t ticket) { return ticket >> (2 * CHUNK_BITS); }
int chunks_of(uint64_t ticket) { return static_cast<int>((ticket >> CHUNK_BITS) & CHUNK_MASK); }
int chunk_of(uint64_t ticket) { return static_cast<int>(ticket & CHUNK_MASK); }

void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

template <typename Word>
void futex_wait(std::atomic<Word>& word, Word value) {
    syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}

template <typename Word>
void futex_wake_all(std::atomic<Word>& word) {
    syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace

Team::Team(int threads) : limit_(threads) {
    for (int thread = 1; thread < threads; thread++) workers_.emplace_back([this, thread] { work(thread); });
}

Team::~Team() {
    stopping_ = true;
    limit(threads());
    bell_.fetch_add(1);
    futex_wake_all(bell_);
    for (auto& worker : workers_) worker.join();
}

void Team::limit(int threads) {
    threads = threads < 1 ? 1 : threads > this->threads() ? this->threads() : threads;
    if (limit_.exchange(threads) != threads) futex_wake_all(limit_);
}

void Team::share(int chunks, Call call, void* context) {
    call_ = call;
    context_ = context;
    done_.store(0, std::memory_order_relaxed);
    const uint64_t epoch = epoch_of(ticket_.load(std::memory_order_relaxed)) + 1;
    ticket_.store((epoch << (2 * CHUNK_BITS)) | (static_cast<uint64_t>(chunks) << CHUNK_BITS));
    if (sleepers_.load() != 0) {
        sleepers_.store(0);
        bell_.fetch_add(1);
        futex_wake_all(bell_);
    }
    help(0);
    wait_until_done(chunks);
}

// Does chunks of whatever is being shared until none is left.
void Team::help(int thread) {
    int finished = 0, chunks = 0;
    for (;;) {
        const uint64_t ticket = ticket_.fetch_add(1, std::memory_order_acq_rel);
        if (chunk_of(ticket) >= chunks_of(ticket)) break;
        chunks = chunks_of(ticket);
        call_(context_, chunk_of(ticket), thread);
        finished++;
    }
    if (finished == 0) return;
    const bool last = done_.fetch_add(finished) + finished == chunks;
    if (last && thread != 0 && caller_sleeps_.exchange(0) != 0) futex_wake_all(done_);
}

void Team::wait_until_done(int chunks) {
    for (int spin = 0; spin < SPINS; spin++) {
        if (done_.load(std::memory_order_acquire) == chunks) return;
        pause();
    }
    for (;;) {
        caller_sleeps_.store(1);
        const int32_t done = done_.load();
        if (done == chunks) break;
        futex_wait(done_, done);
    }
    caller_sleeps_.store(0);
}

void Team::work(int thread) {
    uint64_t seen = 0;
    while (!stopping_.load(std::memory_order_relaxed)) {
        const int limit = limit_.load();
        if (thread >= limit) {
            futex_wait(limit_, limit);
            continue;
        }
        wait_for_work(seen);
        seen = epoch_of(ticket_.load(std::memory_order_acquire));
        help(thread);
    }
}

// Returns when another piece of work than `seen` is shared, or for no reason.
void Team::wait_for_work(uint64_t seen) {
    for (int spin = 0; spin < SPINS; spin++) {
        if (epoch_of(ticket_.load(std::memory_order_acquire)) != seen) return;
        pause();
    }
    const int32_t bell = bell_.load();
    sleepers_.store(1);
    if (epoch_of(ticket_.load()) == seen && !stopping_.load()) futex_wait(bell_, bell);
}

}  // namespace trunkline
