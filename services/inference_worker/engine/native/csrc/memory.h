// Large memory: aligned, zeroed, on huge pages where the system has them.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <new>

namespace trunkline {

class Memory {
   public:
    Memory() = default;
    explicit Memory(size_t bytes) { grow(bytes); }
    ~Memory() { release(); }
    Memory(Memory&& other) noexcept : address_(other.address_), bytes_(other.bytes_) { other.bytes_ = 0; }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
    Memory& operator=(Memory&&) = delete;

    // At least so many bytes from here on; where there were fewer, what they held is gone and all are zero.
    void grow(size_t bytes) {
        if (bytes <= bytes_) return;
        release();
        const size_t rounded = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
        void* mapped = mmap(nullptr, rounded + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (mapped == MAP_FAILED) throw std::bad_alloc();
        const auto start = reinterpret_cast<uintptr_t>(mapped), skipped = (HUGE_PAGE - start % HUGE_PAGE) % HUGE_PAGE;
        if (skipped) munmap(mapped, skipped);
        if (skipped != HUGE_PAGE) munmap(reinterpret_cast<void*>(start + skipped + rounded), HUGE_PAGE - skipped);
        address_ = reinterpret_cast<void*>(start + skipped);
        bytes_ = rounded;
        madvise(address_, bytes_, MADV_HUGEPAGE);
    }

    size_t bytes() const { return bytes_; }

    template <typename Value>
    Value* as() const {
        return static_cast<Value*>(address_);
    }

   private:
    static constexpr size_t HUGE_PAGE = size_t{2} << 20;

    void release() {
        if (bytes_) munmap(address_, bytes_);
        bytes_ = 0;
    }

    void* address_ = nullptr;
    size_t bytes_ = 0;
};

}  // namespace trunkline
