#ifndef FAKE_SCHEMA_GENERATED_H
#define FAKE_SCHEMA_GENERATED_H

#include "flatbuffers/flatbuffers.h"

namespace tflite {

enum BuiltinOperator : int32_t {
    BuiltinOperator_MAX_POOL_2D = 17,
    BuiltinOperator_RESHAPE = 22,
    BuiltinOperator_CUSTOM = 32,
};

using flatbuffers::String;
using flatbuffers::Vector;

struct OperatorCode : flatbuffers::Table {
    int8_t deprecated_builtin_code() const { return scalar<int8_t>(4, 0); }
    BuiltinOperator builtin_code() const {
        return static_cast<BuiltinOperator>(scalar<int32_t>(10, 0));
    }
};

struct Tensor : flatbuffers::Table {
    const Vector<int32_t> *shape() const { return pointer<Vector<int32_t>>(4); }
    int8_t type() const { return scalar<int8_t>(6, 0); }
    uint32_t buffer() const { return scalar<uint32_t>(8, 0); }
    const String *name() const { return pointer<String>(10); }
};

struct Pool2DOptions : flatbuffers::Table {
    int8_t padding() const { return scalar<int8_t>(4, 0); }
    int32_t stride_w() const { return scalar<int32_t>(6, 0); }
    int32_t stride_h() const { return scalar<int32_t>(8, 0); }
    int32_t filter_width() const { return scalar<int32_t>(10, 0); }
    int32_t filter_height() const { return scalar<int32_t>(12, 0); }
};

struct Operator : flatbuffers::Table {
    uint32_t opcode_index() const { return scalar<uint32_t>(4, 0); }
    const Vector<int32_t> *inputs() const { return pointer<Vector<int32_t>>(6); }
    const Vector<int32_t> *outputs() const { return pointer<Vector<int32_t>>(8); }
    const Pool2DOptions *pool_options() const { return pointer<Pool2DOptions>(12); }
};

struct SubGraph : flatbuffers::Table {
    const Vector<const Tensor *> *tensors() const { return pointer<Vector<const Tensor *>>(4); }
    const Vector<int32_t> *inputs() const { return pointer<Vector<int32_t>>(6); }
    const Vector<int32_t> *outputs() const { return pointer<Vector<int32_t>>(8); }
    const Vector<const Operator *> *operators() const {
        return pointer<Vector<const Operator *>>(10);
    }
};

struct Buffer : flatbuffers::Table {
    const Vector<uint8_t> *data() const { return pointer<Vector<uint8_t>>(4); }
};

struct Model : flatbuffers::Table {
    uint32_t version() const { return scalar<uint32_t>(4, 0); }
    const Vector<const OperatorCode *> *operator_codes() const {
        return pointer<Vector<const OperatorCode *>>(6);
    }
    const Vector<const SubGraph *> *subgraphs() const {
        return pointer<Vector<const SubGraph *>>(8);
    }
};

inline const Model *GetModel(const void *content) {
    return static_cast<const Model *>(flatbuffers::follow(content));
}

}  // namespace tflite

#endif
