/* CRC32C against the values that RFC 3720 publishes, and both engines against each
 * other: a record written on one machine is read on another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "shm/crc32c.h"
#include "tests/support/prng.h"

typedef uint32_t crc_function(uint32_t seed, const void *data, size_t size);
static crc_function *const engines[] = {es_crc32c, es_crc32c_table};

static void published_values_come_out(void **state)
{
    uint8_t bytes[32];

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        crc_function *crc = engines[i];

        assert_int_equal(crc(0, "", 0), 0);
        assert_int_equal(crc(0, "123456789", 9), 0xe3069283);
        memset(bytes, 0, sizeof bytes);
        assert_int_equal(crc(0, bytes, sizeof bytes), 0x8a9136aa);
        memset(bytes, 0xff, sizeof bytes);
        assert_int_equal(crc(0, bytes, sizeof bytes), 0x62a8ab43);
        for (uint8_t b = 0; b < 32; b++) {
            bytes[b] = b;
        }
        assert_int_equal(crc(0, bytes, sizeof bytes), 0x46dd794e);
        for (uint8_t b = 0; b < 32; b++) {
            bytes[b] = (uint8_t)(31 - b);
        }
        assert_int_equal(crc(0, bytes, sizeof bytes), 0x113fdb5c);
    }
}

static void both_engines_agree_at_every_size_and_alignment(void **state)
{
    uint8_t bytes[300];
    struct prng prng;

    (void)state;
    prng_begin(&prng, "both_engines");
    prng_fill(&prng, bytes, sizeof bytes);
    for (size_t start = 0; start < 16; start++) {
        for (size_t size = 0; size + start <= sizeof bytes; size++) {
            uint32_t seed = (uint32_t)prng_next(&prng);

            assert_int_equal(es_crc32c(seed, bytes + start, size),
                             es_crc32c_table(seed, bytes + start, size));
        }
    }
}

static void parts_make_the_whole(void **state)
{
    uint8_t bytes[100];
    struct prng prng;

    (void)state;
    prng_begin(&prng, "parts");
    prng_fill(&prng, bytes, sizeof bytes);
    for (size_t cut = 0; cut <= sizeof bytes; cut++) {
        uint32_t first = es_crc32c(0, bytes, cut);

        assert_int_equal(es_crc32c(first, bytes + cut, sizeof bytes - cut),
                         es_crc32c(0, bytes, sizeof bytes));
    }
}

static void every_flipped_bit_shows(void **state)
{
    uint8_t bytes[64] = {0};
    uint32_t sound = es_crc32c(0, bytes, sizeof bytes);

    (void)state;
    for (size_t bit = 0; bit < sizeof bytes * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_not_equal(es_crc32c(0, bytes, sizeof bytes), sound);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_values_come_out),
        cmocka_unit_test(both_engines_agree_at_every_size_and_alignment),
        cmocka_unit_test(parts_make_the_whole),
        cmocka_unit_test(every_flipped_bit_shows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
