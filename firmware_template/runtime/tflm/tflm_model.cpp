// model.h over TensorFlow Lite for Microcontrollers' interpreter.
//
// Set-up is done twice: once with TFLM's recording allocator, which costs arena of its own, to learn
// where the arena goes; then as an application does it, which is what is measured. Interpreters are
// never destroyed: they own nothing, and after a failed set-up their graph is not whole.
#include "model.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <new>

#include "bench_time.h"
#include "runtime/tflm/tflm_glue.h"
#include "tensorflow/lite/micro/micro_allocator.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_profiler_interface.h"
#include "tensorflow/lite/micro/recording_micro_allocator.h"

namespace {

enum Code {
    CODE_OK = 0,
    CODE_MODEL = 1,    // the model region does not hold what was written
    CODE_SCHEMA = 2,   // schema version
    CODE_OPERATOR = 3, // an operator is not in the image
    CODE_ARENA = 4,    // AllocateTensors() failed
    CODE_INVOKE = 5,   // Invoke() failed
    CODE_LAYERS = 6,   // the profiler saw another number of operators than the model has
};

constexpr uint32_t alignment = 16;
constexpr uint32_t name_bytes = 40;

// Times the operators of one pass. Kernels may profile parts of theirs: only the outermost counts.
class LayerProfiler : public tflite::MicroProfilerInterface {
  public:
    uint32_t BeginEvent(const char *) override {
        if (cycles_ == nullptr) {
            return 0;
        }
        if (depth_++ == 0) {
            start_ = bench_cycles();
        }
        return depth_;
    }

    void EndEvent(uint32_t) override {
        if (cycles_ == nullptr) {
            return;
        }
        if (--depth_ == 0) {
            if (count_ < size_) {
                cycles_[count_] = bench_cycles() - start_;
            }
            count_++;
        }
    }

    void begin(uint64_t *cycles, uint32_t size) {
        cycles_ = cycles;
        size_ = size;
        count_ = 0;
        depth_ = 0;
    }

    uint32_t end() {
        cycles_ = nullptr;
        return count_;
    }

  private:
    uint64_t *cycles_ = nullptr;
    uint64_t start_ = 0;
    uint32_t size_ = 0;
    uint32_t count_ = 0;
    uint32_t depth_ = 0;
};

alignas(
    tflite::MicroInterpreter) unsigned char interpreter_storage[sizeof(tflite::MicroInterpreter)];
tflite::MicroInterpreter *interpreter; // null when the model is not set up
alignas(LayerProfiler) unsigned char profiler_storage[sizeof(LayerProfiler)];
LayerProfiler *profiler;
const char *error_text = "";
uint32_t arena_bytes; // of the last set-up

constexpr uint32_t fixed_parts = 2;
constexpr uint32_t max_parts = 10;
model_arena_part_t parts[max_parts];
uint32_t part_count;
uint32_t nonpersistent_used;

uint8_t *arena(void) {
    const uintptr_t start = reinterpret_cast<uintptr_t>(_free_start);
    return reinterpret_cast<uint8_t *>((start + alignment - 1) & ~uintptr_t{alignment - 1});
}

uint32_t capacity(void) {
    const uintptr_t bytes =
        reinterpret_cast<uintptr_t>(_free_end) - reinterpret_cast<uintptr_t>(arena());
    return static_cast<uint32_t>(bytes) & ~(alignment - 1);
}

const tflite::Model *model(void) {
    return tflite::GetModel(tflm_model);
}

const tflite::SubGraph *graph(void) {
    return model()->subgraphs()->Get(0);
}

tflite::BuiltinOperator operator_code(uint32_t i) {
    const auto *const op = graph()->operators()->Get(i);
    const auto *const code = model()->operator_codes()->Get(op->opcode_index());
    // Codes above 127 came later, in a field of their own; the schema says to take the greater.
    const int32_t old_code = code->deprecated_builtin_code();
    const int32_t new_code = static_cast<int32_t>(code->builtin_code());
    return static_cast<tflite::BuiltinOperator>(old_code > new_code ? old_code : new_code);
}

const char *operator_name(tflite::BuiltinOperator code) {
    for (uint32_t i = 0; i < tflm_operator_count; i++) {
        if (tflm_operators[i].code == code) {
            return tflm_operators[i].name;
        }
    }
    return nullptr;
}

int fail(Code code, const char *text) {
    interpreter = nullptr;
    const char *const message = tflm_log_text();
    error_text = *message != '\0' ? message : text;
    return code;
}

bool allocate(tflite::MicroAllocator *allocator, const tflite::MicroOpResolver *resolver) {
    interpreter = new (interpreter_storage)
        tflite::MicroInterpreter(model(), *resolver, allocator, nullptr, profiler);
    return interpreter->AllocateTensors() == kTfLiteOk;
}

void add_part(const char *kind, size_t used, size_t requested, size_t count) {
    if (part_count < max_parts) {
        parts[part_count++] = {kind, static_cast<uint32_t>(used), static_cast<uint32_t>(requested),
                               static_cast<uint32_t>(count)};
    }
}

void record(const tflite::MicroOpResolver *resolver) {
    static const struct {
        tflite::RecordedAllocationType type;
        const char *kind;
    } kinds[] = {
        {tflite::RecordedAllocationType::kTfLiteEvalTensorData, "eval_tensors"},
        {tflite::RecordedAllocationType::kPersistentTfLiteTensorData, "tensors"},
        {tflite::RecordedAllocationType::kPersistentTfLiteTensorQuantizationData, "quantization"},
        {tflite::RecordedAllocationType::kPersistentBufferData, "persistent_buffers"},
        {tflite::RecordedAllocationType::kTfLiteTensorVariableBufferData, "variables"},
        {tflite::RecordedAllocationType::kNodeAndRegistrationArray, "nodes"},
        {tflite::RecordedAllocationType::kOpData, "op_data"},
    };
    part_count = 0;
    nonpersistent_used = 0;
    if (capacity() < tflite::RecordingMicroAllocator::GetDefaultTailUsage() + alignment) {
        return;
    }
    tflite::RecordingMicroAllocator *const allocator =
        tflite::RecordingMicroAllocator::Create(arena(), capacity());
    if (allocator == nullptr || !allocate(allocator, resolver)) {
        return; // the set-up that follows fails too, and says why
    }
    nonpersistent_used =
        static_cast<uint32_t>(allocator->GetSimpleMemoryAllocator()->GetNonPersistentUsedBytes());
    part_count = fixed_parts;
    const size_t own = tflite::MicroAllocator::GetDefaultTailUsage(false);
    add_part("allocator", own, own, 1);
    for (const auto &kind : kinds) {
        const tflite::RecordedAllocation got = allocator->GetRecordedAllocation(kind.type);
        if (got.count != 0 || got.used_bytes != 0) {
            add_part(kind.kind, got.used_bytes, got.requested_bytes, got.count);
        }
    }
}

const tflite::MicroOpResolver *check(int *code) {
    tflm_log_clear();
    if (profiler == nullptr) {
        profiler = new (profiler_storage) LayerProfiler();
    }
    const char *const damaged = tflm_model_check();
    if (damaged != nullptr) {
        *code = fail(CODE_MODEL, damaged);
        return nullptr;
    }
    if (model()->version() != TFLITE_SCHEMA_VERSION) {
        *code = fail(CODE_SCHEMA, "model-has-another-schema-version");
        return nullptr;
    }
    const tflite::MicroOpResolver *const resolver = tflm_resolver();
    if (resolver == nullptr) {
        *code = fail(CODE_OPERATOR, "resolver-refused-an-operator");
    }
    return resolver;
}

int set_up(const tflite::MicroOpResolver *resolver, uint32_t bytes) {
    arena_bytes = bytes;
    // Below this the allocator would write beyond the arena before it checks anything.
    if (bytes > capacity() ||
        bytes < tflite::MicroAllocator::GetDefaultTailUsage(false) + alignment) {
        return fail(CODE_ARENA, bytes > capacity() ? "arena-larger-than-free-memory"
                                                   : "arena-too-small-for-the-allocator");
    }
    tflm_log_clear();
    tflite::MicroAllocator *const allocator = tflite::MicroAllocator::Create(arena(), bytes);
    if (allocator == nullptr) {
        return fail(CODE_ARENA, "allocator-cannot-be-made");
    }
    if (!allocate(allocator, resolver)) {
        bool known = true;
        for (uint32_t i = 0; i < graph()->operators()->size(); i++) {
            known = known && operator_name(operator_code(i)) != nullptr;
        }
        return fail(known ? CODE_ARENA : CODE_OPERATOR, "AllocateTensors-failed");
    }
    error_text = "";
    return CODE_OK;
}

uint32_t tensor_bytes(const TfLiteTensor *tensor) {
    return tensor != nullptr ? static_cast<uint32_t>(tensor->bytes) : 0;
}

} // namespace

const char *model_runtime(void) {
    return "tflm";
}

const char *model_kernels(void) {
    return tflm_kernels;
}

int model_setup(void) {
    int code = CODE_OK;
    const tflite::MicroOpResolver *const resolver = check(&code);
    if (resolver == nullptr) {
        return code;
    }
    record(resolver);
    code = set_up(resolver, capacity());
    if (code == CODE_OK && part_count != 0) {
        const uint32_t used = static_cast<uint32_t>(interpreter->arena_used_bytes());
        parts[0] = {"nonpersistent", nonpersistent_used, nonpersistent_used, 1};
        parts[1] = {"persistent", used - nonpersistent_used, used - nonpersistent_used, 1};
    }
    return code;
}

int model_setup_in(uint32_t bytes) {
    int code = CODE_OK;
    const tflite::MicroOpResolver *const resolver = check(&code);
    return resolver == nullptr ? code : set_up(resolver, bytes);
}

const char *model_error(void) {
    return error_text;
}

uint32_t model_input_count(void) {
    return interpreter != nullptr ? static_cast<uint32_t>(interpreter->inputs_size()) : 0;
}

void *model_input(uint32_t i) {
    return i < model_input_count() ? interpreter->input(i)->data.raw : nullptr;
}

uint32_t model_input_bytes(uint32_t i) {
    return i < model_input_count() ? tensor_bytes(interpreter->input(i)) : 0;
}

uint32_t model_output_count(void) {
    return interpreter != nullptr ? static_cast<uint32_t>(interpreter->outputs_size()) : 0;
}

const void *model_output(uint32_t i) {
    return i < model_output_count() ? interpreter->output(i)->data.raw : nullptr;
}

uint32_t model_output_bytes(uint32_t i) {
    return i < model_output_count() ? tensor_bytes(interpreter->output(i)) : 0;
}

int model_invoke(void) {
    if (interpreter != nullptr && interpreter->Invoke() == kTfLiteOk) {
        return CODE_OK;
    }
    const char *const message = tflm_log_text();
    error_text = *message != '\0' ? message : "Invoke-failed";
    return CODE_INVOKE;
}

uint32_t model_layer_count(void) {
    return interpreter != nullptr ? graph()->operators()->size() : 0;
}

// The name of the tensor that the layer writes, as the host writes it: what a converter joined by
// ';' belongs to one layer, and a name has no spaces.
const model_layer_t *model_layer(uint32_t i) {
    static char name[name_bytes + 1];
    static model_layer_t layer;
    if (i >= model_layer_count()) {
        return nullptr;
    }
    const auto *const op = graph()->operators()->Get(i);
    const auto *const tensor =
        graph()->tensors()->Get(static_cast<uint32_t>(op->outputs()->Get(0)));
    const char *const text = tensor->name() != nullptr ? tensor->name()->c_str() : "";
    uint32_t end = 0;
    while (text[end] != '\0' && text[end] != ';') {
        end++;
    }
    while (end != 0 && text[end - 1] == '/') {
        end--;
    }
    uint32_t start = end > name_bytes ? end - name_bytes : 0;
    while (start < end && text[start] == '/') {
        start++;
    }
    uint32_t length = 0;
    for (; start < end; start++) {
        const char byte = text[start];
        const bool kept = (byte >= '0' && byte <= ':') || (byte >= 'A' && byte <= 'Z') ||
                          (byte >= 'a' && byte <= 'z') || byte == '_' || byte == '.' ||
                          byte == '/' || byte == '-';
        name[length++] = kept ? byte : '_';
    }
    name[length] = '\0';
    layer.name = length != 0 ? name : "layer";
    const char *const known = operator_name(operator_code(i));
    layer.op = known != nullptr ? known : "CUSTOM";
    return &layer;
}

int model_invoke_profiled(uint64_t *cycles, uint32_t n) {
    profiler->begin(cycles, n);
    const int code = model_invoke();
    const uint32_t seen = profiler->end();
    if (code == CODE_OK && seen != model_layer_count()) {
        error_text = "profiler-events-and-operators-differ-in-number";
        return CODE_LAYERS;
    }
    return code;
}

model_arena_t model_arena(void) {
    const uint32_t used =
        interpreter != nullptr ? static_cast<uint32_t>(interpreter->arena_used_bytes()) : 0;
    return {used, used, capacity()};
}

uint32_t model_arena_part_count(void) {
    return part_count;
}

const model_arena_part_t *model_arena_part(uint32_t i) {
    return i < part_count ? &parts[i] : nullptr;
}

void *model_arena_base(void) {
    return nullptr; // the planner writes to arena that nothing uses: paint would lie
}
