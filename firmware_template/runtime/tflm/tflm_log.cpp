// The functions that TFLM wants from a platform: its log, which becomes the text of an error, and a
// clock.
//
// DebugLog() took one string until July 2023, and a format with a va_list since. Both are extern "C",
// so one definition under that symbol serves both; which one the library has is known from the type
// that its header declares.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <type_traits>

#include "bench_time.h"
#include "tensorflow/lite/micro/debug_log.h"
#include "tensorflow/lite/micro/micro_time.h"
#include "runtime/tflm/tflm_glue.h"

extern "C" {
void tflm_debug_log(const char *format, va_list arguments) __asm__("DebugLog");
int tflm_debug_vsnprintf(char *buffer, size_t size, const char *format,
                         va_list arguments) __asm__("DebugVsnprintf");
}

namespace {

constexpr bool has_arguments = !std::is_same_v<decltype(&DebugLog), void (*)(const char *)>;

// Formats what TFLM's messages use, so that newlib's printf, and the heap it wants, stay out.
class Writer {
  public:
    Writer(char *buffer, size_t size) : buffer_(buffer), size_(size) {
    }

    void put(char byte) {
        if (used_ + 1 < size_) {
            buffer_[used_++] = byte;
        }
    }

    void text(const char *text) {
        for (text = text == nullptr ? "(null)" : text; *text != '\0'; text++) {
            put(*text);
        }
    }

    void number(uint64_t value, uint32_t base) {
        char digits[24];
        uint32_t count = 0;
        do {
            digits[count++] = "0123456789abcdef"[value % base];
            value /= base;
        } while (value != 0);
        while (count != 0) {
            put(digits[--count]);
        }
    }

    void integer(int64_t value) {
        if (value < 0) {
            put('-');
        }
        number(value < 0 ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value), 10);
    }

    // In single precision: double would pull a library in for the few messages with a scale in them.
    void real(float value) {
        if (value < 0.0f) {
            put('-');
            value = -value;
        }
        if (!(value < 4.0e9f)) {
            text("(large)");
            return;
        }
        const uint32_t whole = static_cast<uint32_t>(value);
        const uint32_t millionths =
            static_cast<uint32_t>((value - static_cast<float>(whole)) * 1.0e6f);
        number(whole, 10);
        put('.');
        for (uint32_t unit = 100000; unit != 0; unit /= 10) {
            put(static_cast<char>('0' + millionths / unit % 10));
        }
    }

    size_t end() {
        if (size_ != 0) {
            buffer_[used_] = '\0';
        }
        return used_;
    }

  private:
    char *buffer_;
    size_t size_;
    size_t used_ = 0;
};

size_t format_into(char *buffer, size_t size, const char *format, va_list arguments) {
    Writer out(buffer, size);
    for (; *format != '\0'; format++) {
        if (*format != '%') {
            out.put(*format);
            continue;
        }
        uint32_t longs = 0;
        for (format++; (*format >= '0' && *format <= '9') || *format == '.' || *format == '-' ||
                       *format == 'l' || *format == 'z' || *format == 't' || *format == 'h';
             format++) {
            longs += *format == 'l' ? 1u : 0u;
        }
        switch (*format) {
        case 'd':
        case 'i':
            out.integer(longs > 1 ? va_arg(arguments, long long) : va_arg(arguments, int));
            break;
        case 'u':
            out.number(longs > 1 ? va_arg(arguments, unsigned long long)
                                 : va_arg(arguments, unsigned int),
                       10);
            break;
        case 'x':
        case 'X':
            out.number(longs > 1 ? va_arg(arguments, unsigned long long)
                                 : va_arg(arguments, unsigned int),
                       16);
            break;
        case 'p':
            out.text("0x");
            out.number(reinterpret_cast<uintptr_t>(va_arg(arguments, void *)), 16);
            break;
        case 'c':
            out.put(static_cast<char>(va_arg(arguments, int)));
            break;
        case 's':
            out.text(va_arg(arguments, const char *));
            break;
        case 'e':
        case 'f':
        case 'g':
            out.real(static_cast<float>(va_arg(arguments, double)));
            break;
        case '\0':
            return out.end();
        default:
            out.put(*format);
        }
    }
    return out.end();
}

char log_text[192];
uint32_t log_used;

void keep(const char *text) {
    for (; *text != '\0' && log_used + 1 < sizeof log_text; text++) {
        const bool line_end = *text == '\r' || *text == '\n';
        if (!line_end) {
            log_text[log_used++] = *text;
        } else if (log_used != 0 && log_text[log_used - 1] != ' ') {
            log_text[log_used++] = ' ';
        }
    }
    log_text[log_used] = '\0';
}

} // namespace

void tflm_debug_log(const char *format, va_list arguments) {
    if constexpr (has_arguments) {
        char line[160];
        format_into(line, sizeof line, format, arguments);
        keep(line);
    } else {
        (void)arguments;
        keep(format);
    }
}

int tflm_debug_vsnprintf(char *buffer, size_t size, const char *format, va_list arguments) {
    return static_cast<int>(format_into(buffer, size, format, arguments));
}

void tflm_log_clear(void) {
    log_used = 0;
    log_text[0] = '\0';
}

const char *tflm_log_text(void) {
    while (log_used != 0 && log_text[log_used - 1] == ' ') {
        log_text[--log_used] = '\0';
    }
    return log_text;
}

namespace tflite {

// Signed in some generations, unsigned in others.
decltype(ticks_per_second()) ticks_per_second() {
    return 1000000;
}

decltype(GetCurrentTimeTicks()) GetCurrentTimeTicks() {
    return static_cast<decltype(GetCurrentTimeTicks())>(bench_microseconds());
}

} // namespace tflite

// What the C++ library and assertions would pull a heap and a file system in for.
extern "C" {
void *__dso_handle = nullptr;

int __aeabi_atexit(void *, void (*)(void *), void *) {
    return 0;
}

[[noreturn]] void __cxa_pure_virtual(void) {
    __builtin_trap();
}

[[noreturn]] void abort(void) {
    __builtin_trap(); // the fault's report names the place
}
}

void operator delete(void *) noexcept {
}
void operator delete(void *, size_t) noexcept {
}
