// A loaded model: its program, its weights, its cache, and the steps it takes.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "encoder_attention.h"
#include "kernels.h"
#include "memory.h"
#include "program.h"
#include "team.h"

namespace trunkline {

// A model or a batch that cannot be; the message says what is wrong with it.
struct Invalid : std::runtime_error {
    using std::runtime_error::runtime_error;
};

class Model {
   public:
    // Reads the packed weights at `path`. Raises Invalid for a program that does not fit together.
    Model(const char* path, const Shape&, const Operation*, const Record*, const int32_t* widths);

    // The same model with one thread, and buffers of its own, for calls beside this one's. It has no cache.
    std::unique_ptr<Model> fellow() const;

    // Reads rows into the cache. `likeliest` and `logits` are [wanted], and stay until the next step.
    void step(const Batch&, const int32_t** likeliest, const float** logits);

    // Computes the states of an encoder's rows, [rows, width of `result`], which stay until the next call.
    void encode(const Batch&, int32_t result, const float** states);

    // Without the weights where they are another's.
    uint64_t memory_bytes() const;

   private:
    struct Unit {
        Queries queries;
        bool alone;  // all there is of the sequence: its row is placed together with its attention
    };
    struct Run {
        const int32_t* table;
        int32_t first_row, rows;  // of one sequence and block
    };
    struct Best {
        float value;
        int32_t token;
    };

    Model(std::shared_ptr<Memory> weights, const Shape&, std::vector<Operation>, std::vector<Record>,
          std::vector<int32_t> widths);
    void plan();
    void read_weights(const char* path);
    void check_program() const;
    void check_operation(const Operation&) const;
    void check_batch(const Batch&) const;
    void check_sequences(const Batch&) const;

    void run(const Batch&);
    void make_room();
    void plan_attention(int group);
    void find_angles();

    void embed(const Operation&);
    void norm(const Operation&);
    void linear(const Operation&);
    void causal_attention(const Operation&);
    void encoder_attention(const Operation&);
    void gate(const Operation&);
    void add(const Operation&);
    void select(const Operation&);
    void head(const Operation&);
    void head_chunk(const Operation&, int32_t first, int32_t last, int thread, Best* best);

    // A block holds all layers: what sequences grow into is touched block by block, not all layers' pages at once.
    size_t block_numbers() const { return layer_numbers_ * static_cast<size_t>(shape_.layers); }
    float* row_of(int32_t buffer, int32_t row) const {
        return buffers_[buffer].as<float>() + static_cast<size_t>(row) * widths_[buffer];
    }
    const float* vector_of(int32_t record) const {
        return record < 0 ? nullptr : reinterpret_cast<const float*>(weights_->as<char>() + records_[record].weights);
    }
    Linear linear_of(int32_t record) const;
    Activations activations_for(const Linear& linear) const { return {rows_, linear.inputs, activations_.as<void>()}; }
    const LinearKernel& kernel_of(const Linear& linear) const { return linear_kernels_[static_cast<int>(linear.kind)]; }
    float* scratch_of(int thread) const { return scratch_.as<float>() + static_cast<size_t>(thread) * scratch_width_; }

    template <typename Body>
    void each_row(Body body);
    template <typename Body>
    void each_range(int count, int ranges_a_thread, Body body);

    Isa isa_;
    RowKernels row_kernels_;
    AttentionKernel attention_kernel_;
    EncoderAttentionKernel encoder_kernel_;
    LinearKernel linear_kernels_[KINDS];

    Shape shape_;
    std::vector<Operation> operations_;
    std::vector<Record> records_;
    std::vector<int32_t> widths_;
    std::shared_ptr<Memory> weights_;
    bool borrows_ = false;  // the weights of a model that it is a fellow of
    Memory cache_, activations_, scratch_, angles_, logits_, encoder_scratch_;
    std::vector<Memory> buffers_;
    std::vector<int32_t> rotations_;  // records of frequencies, each once
    size_t layer_numbers_ = 0;        // of one layer in a block of the cache
    int32_t scratch_width_ = 0;
    int32_t capacity_ = 0;  // rows that there is room for

    const Batch* batch_ = nullptr;
    int32_t rows_ = 0;
    std::vector<Unit> units_;
    std::vector<Run> runs_;
    std::vector<Best> best_;
    std::vector<int32_t> likeliest_;
    Team team_;
};

}  // namespace trunkline
