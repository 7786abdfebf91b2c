// The C interface of the library: what library.py calls. No exception leaves it.

#include <cstdio>
#include <new>

#include "isa.h"
#include "model.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

constexpr int FINE = 0, INVALID = 1, OUT_OF_MEMORY = 2;
constexpr int MESSAGE_BYTES = 200;

// Calls body() and turns what it throws into a number and a sentence of at most MESSAGE_BYTES.
template <typename Body>
int guarded(char* message, Body body) {
    try {
        body();
        return FINE;
    } catch (const trunkline::Invalid& error) {
        std::snprintf(message, MESSAGE_BYTES, "%s", error.what());
        return INVALID;
    } catch (const std::bad_alloc&) {
        std::snprintf(message, MESSAGE_BYTES, "there is not enough memory");
        return OUT_OF_MEMORY;
    } catch (const std::exception& error) {
        std::snprintf(message, MESSAGE_BYTES, "%s", error.what());
        return OUT_OF_MEMORY;  // threads that the system does not give
    }
}

}  // namespace

EXPORT const char* trunkline_instruction_set() { return trunkline::name_of(trunkline::detect_isa()); }

EXPORT int trunkline_load(const char* path, const trunkline::Shape* shape, const trunkline::Operation* operations,
                          const trunkline::Record* records, const int32_t* widths, trunkline::Model** model,
                          char* message) {
    return guarded(message, [&] { *model = new trunkline::Model(path, *shape, operations, records, widths); });
}

EXPORT int trunkline_fellow(const trunkline::Model* model, trunkline::Model** fellow, char* message) {
    return guarded(message, [&] { *fellow = model->fellow().release(); });
}

EXPORT void trunkline_free(trunkline::Model* model) { delete model; }

EXPORT uint64_t trunkline_memory_bytes(const trunkline::Model* model) { return model->memory_bytes(); }

EXPORT int trunkline_step(trunkline::Model* model, const trunkline::Batch* batch, const int32_t** likeliest,
                          const float** logits, char* message) {
    return guarded(message, [&] { model->step(*batch, likeliest, logits); });
}

EXPORT int trunkline_encode(trunkline::Model* model, const trunkline::Batch* batch, int32_t result,
                            const float** states, char* message) {
    return guarded(message, [&] { model->encode(*batch, result, states); });
}
