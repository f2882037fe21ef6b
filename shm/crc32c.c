#include "shm/crc32c.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

#define POLYNOMIAL_REFLECTED UINT32_C(0x82f63b78)
#define STRIDE_BYTES 8u

enum engine {
    ENGINE_NONE = 0,
    ENGINE_TABLE,
    ENGINE_HARDWARE
};

static _Atomic int engine_chosen;
static pthread_once_t engine_once = PTHREAD_ONCE_INIT;

/* Row r, byte b: the CRC of b followed by r zero bytes. */
static uint32_t table[STRIDE_BYTES][256];

static void table_fill(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;

        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? POLYNOMIAL_REFLECTED : 0);
        }
        table[0][byte] = crc;
    }
    for (uint32_t row = 1; row < STRIDE_BYTES; row++) {
        for (uint32_t byte = 0; byte < 256; byte++) {
            uint32_t before = table[row - 1][byte];

            table[row][byte] = (before >> 8) ^ table[0][before & 0xff];
        }
    }
}

#if defined(__x86_64__)

static int hardware_is_there(void)
{
    return __builtin_cpu_supports("sse4.2");
}

__attribute__((target("sse4.2"))) static uint32_t hardware_crc(uint32_t crc, const uint8_t *bytes,
                                                               size_t size)
{
    uint64_t wide = crc;

    while (size >= STRIDE_BYTES) {
        uint64_t word;

        memcpy(&word, bytes, sizeof word);
        wide = __builtin_ia32_crc32di(wide, word);
        bytes += STRIDE_BYTES;
        size -= STRIDE_BYTES;
    }
    crc = (uint32_t)wide;
    for (; size > 0; size--) {
        crc = __builtin_ia32_crc32qi(crc, *bytes++);
    }
    return crc;
}

#elif defined(__aarch64__)

static int hardware_is_there(void)
{
    return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0;
}

/* In assembly, for the two compilers name the intrinsics differently and hide them
 * unless the whole file is compiled for a processor that has them. */
static uint32_t hardware_crc(uint32_t crc, const uint8_t *bytes, size_t size)
{
    while (size >= STRIDE_BYTES) {
        uint64_t word;

        memcpy(&word, bytes, sizeof word);
        __asm__(".arch_extension crc\n\tcrc32cx %w0, %w0, %x1" : "+r"(crc) : "r"(word));
        bytes += STRIDE_BYTES;
        size -= STRIDE_BYTES;
    }
    for (; size > 0; size--) {
        uint32_t byte = *bytes++;

        __asm__(".arch_extension crc\n\tcrc32cb %w0, %w0, %w1" : "+r"(crc) : "r"(byte));
    }
    return crc;
}

#else

static int hardware_is_there(void)
{
    return 0;
}

static uint32_t hardware_crc(uint32_t crc, const uint8_t *bytes, size_t size)
{
    (void)bytes;
    (void)size;
    return crc;
}

#endif

static void engine_choose(void)
{
    table_fill();
    atomic_store_explicit(&engine_chosen, hardware_is_there() ? ENGINE_HARDWARE : ENGINE_TABLE,
                          memory_order_release);
}

static int engine(void)
{
    int chosen = atomic_load_explicit(&engine_chosen, memory_order_acquire);

    if (chosen == ENGINE_NONE) {
        pthread_once(&engine_once, engine_choose);
        chosen = atomic_load_explicit(&engine_chosen, memory_order_acquire);
    }
    return chosen;
}

static uint32_t table_crc(uint32_t crc, const uint8_t *bytes, size_t size)
{
    while (size >= STRIDE_BYTES) {
        uint64_t word;

        memcpy(&word, bytes, sizeof word); /* little-endian: layout.h */
        word ^= crc;
        crc = 0;
        for (uint32_t i = 0; i < STRIDE_BYTES; i++) {
            crc ^= table[STRIDE_BYTES - 1 - i][(word >> (8 * i)) & 0xff];
        }
        bytes += STRIDE_BYTES;
        size -= STRIDE_BYTES;
    }
    for (; size > 0; size--) {
        crc = (crc >> 8) ^ table[0][(crc ^ *bytes++) & 0xff];
    }
    return crc;
}

uint32_t es_crc32c(uint32_t seed, const void *data, size_t size)
{
    if (engine() == ENGINE_HARDWARE) {
        return ~hardware_crc(~seed, data, size);
    }
    return ~table_crc(~seed, data, size);
}

uint32_t es_crc32c_table(uint32_t seed, const void *data, size_t size)
{
    (void)engine();
    return ~table_crc(~seed, data, size);
}
