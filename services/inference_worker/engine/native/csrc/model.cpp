#include "model.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace trunkline {

namespace {

constexpr size_t READ_BYTES = size_t{4} << 20;

void require(bool holds, const char* otherwise) {
    if (!holds) throw Invalid(otherwise);
}

class File {
   public:
    explicit File(const char* path) : descriptor_(open(path, O_RDONLY | O_CLOEXEC)) {
        require(descriptor_ >= 0, "the packed weights cannot be opened");
    }
    ~File() { close(descriptor_); }
    File(const File&) = delete;
    File& operator=(const File&) = delete;

    size_t bytes() const {
        struct stat status = {};
        require(fstat(descriptor_, &status) == 0, "the packed weights cannot be measured");
        return static_cast<size_t>(status.st_size);
    }

    bool read(char* into, size_t bytes, size_t offset) const {
        while (bytes > 0) {
            const ssize_t count = pread(descriptor_, into, bytes, static_cast<off_t>(offset));
            if (count <= 0) return false;
            into += count;
            offset += static_cast<size_t>(count);
            bytes -= static_cast<size_t>(count);
        }
        return true;
    }

   private:
    int descriptor_;
};

}  // namespace

Model::Model(const char* path, const Shape& shape, const Operation* operations, const Record* records,
             const int32_t* widths)
    : Model(std::make_shared<Memory>(), shape, {operations, operations + shape.operations},
            {records, records + shape.records}, {widths, widths + shape.buffers}) {
    read_weights(path);
    check_program();
    plan();
}

std::unique_ptr<Model> Model::fellow() const {
    Shape shape = shape_;
    shape.threads = 1;
    shape.blocks = 0;
    std::unique_ptr<Model> made(new Model(weights_, shape, operations_, records_, widths_));
    made->plan();
    made->borrows_ = true;
    return made;
}

Model::Model(std::shared_ptr<Memory> weights, const Shape& shape, std::vector<Operation> operations,
             std::vector<Record> records, std::vector<int32_t> widths)
    : isa_(detect_isa()),
      row_kernels_(row_kernels(isa_)),
      attention_kernel_(attention_kernel(isa_)),
      encoder_kernel_(encoder_attention_kernel(isa_)),
      shape_(shape),
      operations_(std::move(operations)),
      records_(std::move(records)),
      widths_(std::move(widths)),
      weights_(std::move(weights)),
      buffers_(static_cast<size_t>(shape.buffers)),
      team_(shape.threads) {
    for (int kind = 0; kind < KINDS; kind++) linear_kernels_[kind] = linear_kernel(static_cast<Kind>(kind), isa_);
}

// Finds out, of a program that was checked, how large the cache is and which angles each step needs.
void Model::plan() {
    for (const auto& op : operations_) {
        if (op.code != static_cast<int32_t>(Code::attention)) continue;
        if (op.weight >= 0 && std::find(rotations_.begin(), rotations_.end(), op.weight) == rotations_.end())
            rotations_.push_back(op.weight);
        if (op.flags & CAUSAL) layer_numbers_ = static_cast<size_t>(op.kv_heads) * numbers_of_block(op.size);
    }
    cache_.grow(static_cast<size_t>(shape_.blocks) * block_numbers() * sizeof(uint16_t));
    scratch_width_ = 16 + *std::max_element(widths_.begin(), widths_.end());
    scratch_width_ += (16 - scratch_width_ % 16) % 16;
}

// Reading into memory of our own takes no longer than mapping the file and touching it, and gives huge pages.
void Model::read_weights(const char* path) {
    const File file(path);
    const size_t bytes = file.bytes();
    weights_->grow(bytes);
    const int pieces = static_cast<int>((bytes + READ_BYTES - 1) / READ_BYTES);
    std::atomic<bool> whole{true};
    team_.parallel_for(pieces, [&](int piece, int) {
        const size_t start = static_cast<size_t>(piece) * READ_BYTES;
        if (!file.read(weights_->as<char>() + start, std::min(READ_BYTES, bytes - start), start)) whole = false;
    });
    require(whole, "the packed weights cannot be read");
    for (const auto& record : records_) {
        require(record.weights <= bytes && record.bytes <= bytes - record.weights && record.scales <= bytes,
                "a weight lies outside of the packed file");
        require(record.weights % 64 == 0 && record.scales % 64 == 0, "a weight is not aligned");
        require(record.rows > 0 && record.columns > 0, "a weight is empty");
    }
}

void Model::check_program() const {
    for (const auto& width : widths_) require(width > 0, "a buffer is empty");
    for (const auto& op : operations_) check_operation(op);
}

void Model::check_operation(const Operation& op) const {
    const auto buffer = [&](int32_t index, int32_t width) {
        return index >= 0 && index < shape_.buffers && widths_[static_cast<size_t>(index)] == width;
    };
    const auto record = [&](int32_t index, Role role) {
        return index >= 0 && index < shape_.records &&
               records_[static_cast<size_t>(index)].role == static_cast<int32_t>(role);
    };
    const auto vector = [&](int32_t index, int32_t width) {
        return index < 0 || (record(index, Role::vector) && records_[static_cast<size_t>(index)].rows == width);
    };
    require(op.out >= 0 && op.out < shape_.buffers, "an operation has no output");
    const int32_t width = widths_[static_cast<size_t>(op.out)];
    require(op.prepares < 0 || record(op.prepares, Role::linear), "an operation prepares what is no linear");
    switch (static_cast<Code>(op.code)) {
        case Code::embed:
            require(record(op.weight, Role::table) && vector(op.third, width), "an embedding has no table");
            require(op.second < 0 || record(op.second, Role::table), "an embedding has no positions");
            break;
        case Code::norm:
            require(buffer(op.x, width) && op.weight >= 0 && vector(op.weight, width) && vector(op.second, width),
                    "a norm's widths differ");
            break;
        case Code::linear:
        case Code::head: {
            require(record(op.weight, Role::linear), "a linear has no weight");
            const Linear linear = linear_of(op.weight);
            require(linear.outputs == width && buffer(op.x, linear.inputs) && vector(op.second, width),
                    "a linear's widths differ");
            require(kernel_of(linear).multiply != nullptr, "there is no kernel for a weight's kind");
            break;
        }
        case Code::attention:
            require(op.heads > 0 && op.kv_heads > 0 && op.heads % op.kv_heads == 0, "attention has odd groups of heads");
            require(op.size > 0 && op.size % 16 == 0 && op.size <= MAX_HEAD_SIZE, "a head is 16, 32, … or 256 wide");
            require(buffer(op.x, (op.heads + 2 * op.kv_heads) * op.size) && width == op.heads * op.size &&
                        vector(op.weight, op.size / 2),
                    "attention's widths differ");
            require(!(op.flags & CAUSAL) || (op.layer >= 0 && op.layer < shape_.layers), "a layer has no cache");
            break;
        case Code::gate: require(buffer(op.x, 2 * width), "a gate's widths differ"); break;
        case Code::add:
        case Code::select: require(buffer(op.x, width), "an operation's widths differ"); break;
        default: throw Invalid("an operation is not known");
    }
}

Linear Model::linear_of(int32_t index) const {
    const Record& record = records_[static_cast<size_t>(index)];
    const char* base = weights_->as<char>();
    require(record.kind >= 0 && record.kind < KINDS, "a weight is of no known kind");
    return {record.rows, record.columns, static_cast<Kind>(record.kind), base + record.weights,
            record.scales ? base + record.scales : nullptr};
}

uint64_t Model::memory_bytes() const {
    uint64_t bytes = (borrows_ ? 0 : weights_->bytes()) + cache_.bytes() + activations_.bytes() + scratch_.bytes() + logits_.bytes();
    for (const auto& buffer : buffers_) bytes += buffer.bytes();
    return bytes + angles_.bytes() + encoder_scratch_.bytes();
}

void Model::check_batch(const Batch& batch) const {
    require(batch.rows > 0 && batch.threads > 0, "a batch has no rows");
    for (int32_t row = 0; row < batch.rows; row++) {
        require(batch.tokens[row] >= 0 && batch.tokens[row] < shape_.vocabulary, "a token is not in the vocabulary");
        require(batch.positions[row] >= 0, "a position is negative");
    }
    for (const auto& op : operations_)
        if (op.code == static_cast<int32_t>(Code::embed) && op.second >= 0)
            for (int32_t row = 0; row < batch.rows; row++)
                require(batch.positions[row] < records_[static_cast<size_t>(op.second)].rows - op.offset,
                        "a position is beyond the model's context");
}

void Model::check_sequences(const Batch& batch) const {
    for (int32_t row = 0; row < batch.rows; row++) {
        const int32_t sequence = batch.sequences[row], place = batch.positions[row] / BLOCK_TOKENS;
        require(sequence >= 0 && sequence < batch.tables_count, "a row's sequence has no block table");
        require(place < batch.tables_width, "a position is beyond the block table");
        const bool first = row == 0 || batch.sequences[row - 1] != sequence;
        require(first || batch.positions[row] == batch.positions[row - 1] + 1, "a sequence's positions have gaps");
    }
    const size_t blocks = static_cast<size_t>(batch.tables_count) * batch.tables_width;
    for (size_t i = 0; i < blocks; i++)
        require(batch.tables[i] >= 0 && batch.tables[i] < shape_.blocks, "a block is not in the cache");
    for (int32_t i = 0; i < batch.wanted_count; i++)
        require(batch.wanted[i] >= (i ? batch.wanted[i - 1] + 1 : 0) && batch.wanted[i] < batch.rows,
                "the wanted rows are not in order");
}

}  // namespace trunkline
