// Just enough of a flatbuffer reader: tables, vectors and strings, unchecked.
#ifndef FAKE_FLATBUFFERS_H
#define FAKE_FLATBUFFERS_H

#include <stdint.h>
#include <string.h>

namespace flatbuffers {

template <typename T> T read(const void *at) {
    T value;
    memcpy(&value, at, sizeof value);
    return value;
}

inline const void *follow(const void *at) {
    return static_cast<const uint8_t *>(at) + read<uint32_t>(at);
}

class String {
  public:
    const char *c_str() const { return reinterpret_cast<const char *>(this) + 4; }
};

template <typename T> class Vector {
  public:
    uint32_t size() const { return read<uint32_t>(this); }
    T Get(uint32_t i) const { return read<T>(item(i)); }

  protected:
    const void *item(uint32_t i) const {
        return reinterpret_cast<const uint8_t *>(this) + 4 + sizeof(T) * i;
    }
};

template <typename T> class Vector<const T *> {
  public:
    uint32_t size() const { return read<uint32_t>(this); }
    const T *Get(uint32_t i) const {
        const auto *const at = reinterpret_cast<const uint8_t *>(this) + 4 + 4 * i;
        return static_cast<const T *>(follow(at));
    }
};

class Table {
  protected:
    template <typename T> T scalar(uint32_t slot, T otherwise) const {
        const uint8_t *const at = field(slot);
        return at != nullptr ? read<T>(at) : otherwise;
    }

    template <typename T> const T *pointer(uint32_t slot) const {
        const uint8_t *const at = field(slot);
        return at != nullptr ? static_cast<const T *>(follow(at)) : nullptr;
    }

  private:
    const uint8_t *field(uint32_t slot) const {
        const auto *const base = reinterpret_cast<const uint8_t *>(this);
        const uint8_t *const table = base - read<int32_t>(base);
        const uint16_t offset = slot < read<uint16_t>(table) ? read<uint16_t>(table + slot) : 0;
        return offset != 0 ? base + offset : nullptr;
    }
};

}  // namespace flatbuffers

#endif
