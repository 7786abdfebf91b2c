// How a model takes a step: its operations in order, each shared by the team.

#include <algorithm>
#include <cmath>
#include <cstring>

#include "model.h"

namespace trunkline {

namespace {

constexpr int FEW_ROWS = 3;            // rows that one thread does sooner than two can agree
constexpr int LINEAR_RANGES = 8;       // pieces of a linear a thread: enough for the slower one to do less
constexpr int HEAD_BLOCKS = 2;         // blocks of logits that are looked through while they are in the cache

}  // namespace

// Calls body(row, thread) for every row.
template <typename Body>
void Model::each_row(Body body) {
    const int chunks = rows_ <= FEW_ROWS ? 1 : std::min(rows_, 4 * team_.threads());
    team_.parallel_for(chunks, [&](int chunk, int thread) {
        const int last = static_cast<int>(int64_t{rows_} * (chunk + 1) / chunks);
        for (int row = static_cast<int>(int64_t{rows_} * chunk / chunks); row < last; row++) body(row, thread);
    });
}

// Calls body(first, last, range, thread) for consecutive ranges that make up [0, count).
template <typename Body>
void Model::each_range(int count, int ranges_a_thread, Body body) {
    const int ranges = std::min(count, ranges_a_thread * team_.threads());
    team_.parallel_for(ranges, [&](int range, int thread) {
        body(static_cast<int>(int64_t{count} * range / ranges), static_cast<int>(int64_t{count} * (range + 1) / ranges),
             range, thread);
    });
}

void Model::step(const Batch& batch, const int32_t** likeliest, const float** logits) {
    check_batch(batch);
    check_sequences(batch);
    run(batch);
    *likeliest = likeliest_.data();
    *logits = batch.logits ? logits_.as<float>() : nullptr;
}

void Model::encode(const Batch& batch, int32_t result, const float** states) {
    check_batch(batch);
    if (result < 0 || result >= shape_.buffers) throw Invalid("the result is no buffer");
    run(batch);
    *states = row_of(result, 0);
}

void Model::run(const Batch& batch) {
    batch_ = &batch;
    rows_ = batch.rows;
    team_.limit(batch.threads);
    make_room();
    find_angles();
    units_.clear();
    for (const auto& op : operations_) {
        if (rows_ == 0) break;
        switch (static_cast<Code>(op.code)) {
            case Code::embed: embed(op); break;
            case Code::norm: norm(op); break;
            case Code::linear: linear(op); break;
            case Code::attention: op.flags & CAUSAL ? causal_attention(op) : encoder_attention(op); break;
            case Code::gate: gate(op); break;
            case Code::add: add(op); break;
            case Code::select: select(op); break;
            case Code::head: head(op); break;
        }
    }
}

// Buffers grow to the most rows that were ever asked for.
void Model::make_room() {
    if (rows_ <= capacity_) return;
    const auto rows = static_cast<size_t>(rows_);
    for (const auto& op : operations_)  // a head's result has memory of its own
        if (op.code != static_cast<int32_t>(Code::head))
            buffers_[op.out].grow(rows * widths_[op.out] * sizeof(float));
    for (const auto& record : records_) {
        if (record.role != static_cast<int32_t>(Role::linear)) continue;
        const auto& kernel = linear_kernels_[record.kind];
        activations_.grow(kernel.activation_bytes(rows_, record.columns));
    }
    scratch_.grow(static_cast<size_t>(team_.threads()) * scratch_width_ * sizeof(float));
    for (const auto rotation : rotations_)
        angles_.grow(rotations_.size() * rows * 2 * records_[rotation].rows * sizeof(float));
    capacity_ = rows_;
}

// Cosines and sines of every row's position, for all layers of this step.
void Model::find_angles() {
    float* place = angles_.as<float>();
    for (const auto rotation : rotations_) {
        const float* frequencies = vector_of(rotation);
        const int half = records_[rotation].rows;
        each_row([&](int row, int) {
            float* angles = place + static_cast<size_t>(row) * 2 * half;
            for (int i = 0; i < half; i++) {
                const float angle = static_cast<float>(batch_->positions[row]) * frequencies[i];
                angles[i] = std::cos(angle);
                angles[half + i] = std::sin(angle);
            }
        });
        place += static_cast<size_t>(rows_) * 2 * half;
    }
}

void Model::embed(const Operation& op) {
    const Record& tokens = records_[op.weight];
    const int32_t width = widths_[op.out];
    const char* base = weights_->as<char>();
    each_row([&](int row, int thread) {
        float* out = row_of(op.out, row);
        row_kernels_.read(base + tokens.weights, static_cast<Kind>(tokens.kind), batch_->tokens[row], width, op.number, out);
        if (op.second >= 0) {
            const Record& positions = records_[op.second];
            float* added = scratch_of(thread);
            row_kernels_.read(base + positions.weights, static_cast<Kind>(positions.kind),
                              batch_->positions[row] + op.offset, width, 1.0f, added);
            row_kernels_.add(added, width, out);
        }
        if (op.third >= 0) row_kernels_.add(vector_of(op.third), width, out);
    });
}

void Model::norm(const Operation& op) {
    const int32_t width = widths_[op.out];
    const float *weight = vector_of(op.weight), *bias = vector_of(op.second);
    each_row([&](int row, int thread) {
        float* out = op.prepares < 0 || op.flags & KEEP ? row_of(op.out, row) : scratch_of(thread);
        if (op.flags & LAYER)
            row_kernels_.layer_norm(row_of(op.x, row), width, weight, bias, op.number, out);
        else
            row_kernels_.rms_norm(row_of(op.x, row), width, weight, op.number, out);
        if (op.prepares < 0) return;
        const Linear next = linear_of(op.prepares);
        kernel_of(next).prepare(out, row, 0, width, activations_for(next));
    });
}

void Model::gate(const Operation& op) {
    const int32_t width = widths_[op.out];
    each_row([&](int row, int thread) {
        float* out = op.prepares < 0 || op.flags & KEEP ? row_of(op.out, row) : scratch_of(thread);
        row_kernels_.gate(row_of(op.x, row), width, static_cast<Activation>(op.activation), out);
        if (op.prepares < 0) return;
        const Linear next = linear_of(op.prepares);
        kernel_of(next).prepare(out, row, 0, width, activations_for(next));
    });
}

void Model::linear(const Operation& op) {
    const Linear linear = linear_of(op.weight);
    const LinearKernel& kernel = kernel_of(linear);
    const Activations x = activations_for(linear);
    if (!(op.flags & PREPARED))
        each_row([&](int row, int) { kernel.prepare(row_of(op.x, row), row, 0, linear.inputs, x); });
    const Output output = {row_of(op.out, 0), widths_[op.out], 0, (op.flags & ADD) != 0,
                           static_cast<Activation>(op.activation), vector_of(op.second)};
    each_range(blocks_of(linear), LINEAR_RANGES,
               [&](int first, int last, int, int) { kernel.multiply(linear, x, first, last, output); });
}

// Cuts the batch into tiles of sixteen queries, and rows that come into the cache into runs of one block.
void Model::plan_attention(int group) {
    runs_.clear();
    for (int32_t first = 0, last; first < rows_; first = last) {
        const int32_t sequence = batch_->sequences[first];
        const int32_t* table = batch_->tables + static_cast<size_t>(sequence) * batch_->tables_width;
        for (last = first; last < rows_ && batch_->sequences[last] == sequence;) last++;
        const int32_t queries = (last - first) * group;
        const bool alone = last - first == 1 && queries <= TILE_QUERIES;
        for (int32_t query = 0; query < queries; query += TILE_QUERIES)
            units_.push_back({{table, first, query, std::min(TILE_QUERIES, queries - query)}, alone});
        if (alone) continue;
        for (int32_t row = first, next; row < last; row = next) {
            next = std::min(last, row + BLOCK_TOKENS - batch_->positions[row] % BLOCK_TOKENS);
            runs_.push_back({table, row, next - row});
        }
    }
}

void Model::causal_attention(const Operation& op) {
    uint16_t* cache = cache_.as<uint16_t>() + layer_numbers_ * op.layer;
    CausalAttention a = {row_of(op.x, 0), op.heads, op.kv_heads, op.size, op.number, nullptr, cache, block_numbers(),
                         batch_->positions, row_of(op.out, 0), nullptr, {}};
    const float* angles = angles_.as<float>();
    for (const auto rotation : rotations_) {
        if (rotation == op.weight) a.angles = angles;
        angles += static_cast<size_t>(rows_) * 2 * records_[rotation].rows;
    }
    if (op.prepares >= 0) {
        const Linear next = linear_of(op.prepares);
        a.prepare = kernel_of(next).prepare;
        a.prepared = activations_for(next);
        a.out = nullptr;
    }
    if (units_.empty()) plan_attention(a.group());
    team_.parallel_for(static_cast<int>(runs_.size()) * op.kv_heads, [&](int chunk, int) {
        const Run& run = runs_[chunk / op.kv_heads];
        for (int32_t row = run.first_row; row < run.first_row + run.rows; row++)
            attention_kernel_.place(a, run.table, row, chunk % op.kv_heads);
    });
    const int chunks = static_cast<int>(units_.size()) * op.kv_heads;
    team_.parallel_for(chunks, [&](int chunk, int) {
        const Unit& unit = units_[(chunks - 1 - chunk) / op.kv_heads];  // a sequence's last rows take longest
        if (unit.alone)
            attention_kernel_.place(a, unit.queries.table, unit.queries.first_row, chunk % op.kv_heads);
        attention_kernel_.attend(a, unit.queries, chunk % op.kv_heads);
    });
}

void Model::encoder_attention(const Operation& op) {
    const ::trunkline::EncoderAttention a = {row_of(op.x, 0), row_of(op.out, 0), op.heads, op.kv_heads, op.size,
                                             op.number, batch_->starts, batch_->starts_count};
    const size_t bytes = (encoder_kernel_.scratch_bytes(a) + 63) / 64 * 64;
    encoder_scratch_.grow(bytes * team_.threads());
    team_.parallel_for(encoder_kernel_.units(a), [&](int unit, int thread) {
        encoder_kernel_.attend(a, unit, encoder_scratch_.as<char>() + bytes * thread);
    });
}

void Model::add(const Operation& op) {
    each_row([&](int row, int) { row_kernels_.add(row_of(op.x, row), widths_[op.out], row_of(op.out, row)); });
}

void Model::select(const Operation& op) {
    rows_ = batch_->wanted_count;
    for (int32_t i = 0; i < rows_; i++)
        std::memcpy(row_of(op.out, i), row_of(op.x, batch_->wanted[i]), widths_[op.out] * sizeof(float));
}

// A few blocks of logits are computed and looked through at once; they are kept only where they are wanted.
void Model::head(const Operation& op) {
    const Linear linear = linear_of(op.weight);
    const LinearKernel& kernel = kernel_of(linear);
    const Activations x = activations_for(linear);
    if (!(op.flags & PREPARED))
        each_row([&](int row, int) { kernel.prepare(row_of(op.x, row), row, 0, linear.inputs, x); });
    const auto rows = static_cast<size_t>(rows_);
    const size_t kept = batch_->logits ? linear.outputs : HEAD_BLOCKS * BLOCK_OUTPUTS * team_.threads();
    logits_.grow(rows * kept * sizeof(float));
    const int ranges = std::min(blocks_of(linear), 2 * LINEAR_RANGES * team_.threads());
    best_.assign(rows * ranges, {-INFINITY, 0});
    likeliest_.resize(rows);
    each_range(blocks_of(linear), 2 * LINEAR_RANGES, [&](int first, int last, int range, int thread) {
        for (int block = first; block < last; block += HEAD_BLOCKS)
            head_chunk(op, block, std::min(last, block + HEAD_BLOCKS), thread, best_.data() + rows * range);
    });
    for (size_t row = 0; row < rows; row++) {
        Best best = best_[row];
        for (int range = 1; range < ranges; range++)
            if (best_[rows * range + row].value > best.value) best = best_[rows * range + row];
        likeliest_[row] = best.token;
    }
}

void Model::head_chunk(const Operation& op, int32_t first, int32_t last, int thread, Best* best) {
    const Linear linear = linear_of(op.weight);
    const int32_t token = first * BLOCK_OUTPUTS, count = std::min(last * BLOCK_OUTPUTS, linear.outputs) - token;
    const int32_t width = HEAD_BLOCKS * BLOCK_OUTPUTS;
    Output output = {logits_.as<float>() + static_cast<size_t>(thread) * rows_ * width, width, token, false,
                     static_cast<Activation>(op.activation), vector_of(op.second)};
    if (batch_->logits) output = {logits_.as<float>(), linear.outputs, 0, false, output.activation, output.bias};
    kernel_of(linear).multiply(linear, activations_for(linear), first, last, output);
    for (int32_t row = 0; row < rows_; row++) {
        const float* logits = output.values + row * output.stride + (token - output.first_output);
        const float highest = row_kernels_.highest(logits, count);
        if (highest > best[row].value)
            best[row] = {highest, token + static_cast<int32_t>(std::find(logits, logits + count, highest) - logits)};
    }
}

}  // namespace trunkline
