#include "shm/codec/strict_msgpack.h"

#include "shm/codec/names.h"

/*
 * The head of one value: what its first bytes say. 'number' is the value of an
 * integer or bool (two's complement if negative), the bits of a float, the size
 * of a str, bin or ext body, the count of an array or map.
 */
struct head {
    enum es_msgpack_type type;
    uint32_t size;     /* bytes of the head itself; 0: there is none, or it is refused */
    uint32_t body_add; /* bytes between head and body: the type of an ext */
    uint64_t number;
};

static uint64_t big_endian(const uint8_t *at, uint32_t size)
{
    uint64_t value = 0;

    for (uint32_t i = 0; i < size; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

/*
 * A head of one byte and a 'width'-byte number that must be at least 'min':
 * a smaller one has a shorter form.
 */
static struct head wide(const struct es_unpack *unpack, enum es_msgpack_type type, uint32_t width,
                        uint64_t min)
{
    struct head head = {.type = type};

    if ((size_t)(unpack->end - unpack->at) > width) {
        head.number = big_endian(unpack->at + 1, width);
        head.size = head.number >= min ? 1 + width : 0;
    }
    return head;
}

/* A signed form: only negative values below 'below' have no shorter form. */
static struct head wide_signed(const struct es_unpack *unpack, uint32_t width, int64_t below)
{
    struct head head = {.type = ES_MSGPACK_INT};

    if ((size_t)(unpack->end - unpack->at) > width) {
        uint64_t bits = big_endian(unpack->at + 1, width);
        uint64_t sign = 1ULL << (8 * width - 1);

        head.number = (bits ^ sign) - sign; /* extends the sign */
        head.size = (int64_t)head.number < below ? 1 + width : 0;
    }
    return head;
}

/* An ext whose size is in the head; sizes 1, 2, 4, 8 and 16 have a shorter form. */
static struct head wide_ext(const struct es_unpack *unpack, uint32_t width, uint64_t min)
{
    struct head head = wide(unpack, ES_MSGPACK_EXT, width, min);

    if (head.number == 1 || head.number == 2 || head.number == 4 || head.number == 8 ||
        head.number == 16) {
        head.size = 0;
    }
    head.body_add = 1;
    return head;
}

static struct head simple(enum es_msgpack_type type, uint64_t number)
{
    return (struct head){.type = type, .size = 1, .number = number};
}

/* The heads 0xC0 to 0xDF. */
static struct head head_c0_df(const struct es_unpack *unpack)
{
    uint8_t first = *unpack->at;

    switch (first) {
    case 0xC0: return simple(ES_MSGPACK_NIL, 0);
    case 0xC2: return simple(ES_MSGPACK_BOOL, 0);
    case 0xC3: return simple(ES_MSGPACK_BOOL, 1);
    case 0xC4: return wide(unpack, ES_MSGPACK_BIN, 1, 0);
    case 0xC5: return wide(unpack, ES_MSGPACK_BIN, 2, 1U << 8);
    case 0xC6: return wide(unpack, ES_MSGPACK_BIN, 4, 1U << 16);
    case 0xC7: return wide_ext(unpack, 1, 0);
    case 0xC8: return wide_ext(unpack, 2, 1U << 8);
    case 0xC9: return wide_ext(unpack, 4, 1U << 16);
    case 0xCA: return wide(unpack, ES_MSGPACK_FLOAT, 4, 0);
    case 0xCB: return wide(unpack, ES_MSGPACK_FLOAT, 8, 0);
    case 0xCC: return wide(unpack, ES_MSGPACK_UINT, 1, 1U << 7);
    case 0xCD: return wide(unpack, ES_MSGPACK_UINT, 2, 1U << 8);
    case 0xCE: return wide(unpack, ES_MSGPACK_UINT, 4, 1U << 16);
    case 0xCF: return wide(unpack, ES_MSGPACK_UINT, 8, 1ULL << 32);
    case 0xD0: return wide_signed(unpack, 1, -32);
    case 0xD1: return wide_signed(unpack, 2, INT8_MIN);
    case 0xD2: return wide_signed(unpack, 4, INT16_MIN);
    case 0xD3: return wide_signed(unpack, 8, INT32_MIN);
    case 0xD4:
    case 0xD5:
    case 0xD6:
    case 0xD7:
    case 0xD8:
        return (struct head){
            .type = ES_MSGPACK_EXT, .size = 1, .body_add = 1, .number = 1ULL << (first - 0xD4)};
    case 0xD9: return wide(unpack, ES_MSGPACK_STR, 1, 32);
    case 0xDA: return wide(unpack, ES_MSGPACK_STR, 2, 1U << 8);
    case 0xDB: return wide(unpack, ES_MSGPACK_STR, 4, 1U << 16);
    case 0xDC: return wide(unpack, ES_MSGPACK_ARRAY, 2, 16);
    case 0xDD: return wide(unpack, ES_MSGPACK_ARRAY, 4, 1U << 16);
    case 0xDE: return wide(unpack, ES_MSGPACK_MAP, 2, 16);
    case 0xDF: return wide(unpack, ES_MSGPACK_MAP, 4, 1U << 16);
    default: return (struct head){.type = ES_MSGPACK_NONE};
    }
}

/* Looks at the next head without consuming it; type NONE at the end or after an error. */
static struct head head_peek(const struct es_unpack *unpack)
{
    if (unpack->failed || unpack->at == unpack->end) {
        return (struct head){.type = ES_MSGPACK_NONE};
    }
    uint8_t first = *unpack->at;
    if (first < 0x80) {
        return simple(ES_MSGPACK_UINT, first);
    }
    if (first < 0x90) {
        return simple(ES_MSGPACK_MAP, first & 15U);
    }
    if (first < 0xA0) {
        return simple(ES_MSGPACK_ARRAY, first & 15U);
    }
    if (first < 0xC0) {
        return simple(ES_MSGPACK_STR, first & 31U);
    }
    if (first < 0xE0) {
        return head_c0_df(unpack);
    }
    return simple(ES_MSGPACK_INT, (uint64_t)(int64_t)(int8_t)first);
}

void es_unpack_init(struct es_unpack *unpack, const void *bytes, size_t size)
{
    static const uint8_t nothing[1];

    unpack->at = size > 0 ? (const uint8_t *)bytes : nothing;
    unpack->end = unpack->at + size;
    unpack->failed = false;
}

void es_unpack_fail(struct es_unpack *unpack)
{
    unpack->failed = true;
}

bool es_unpack_ok(const struct es_unpack *unpack)
{
    return !unpack->failed;
}

bool es_unpack_done(const struct es_unpack *unpack)
{
    return !unpack->failed && unpack->at == unpack->end;
}

enum es_msgpack_type es_unpack_peek(const struct es_unpack *unpack)
{
    return head_peek(unpack).type;
}

/* Consumes a head of 'type', or fails and gives zero. */
static uint64_t head_take(struct es_unpack *unpack, enum es_msgpack_type type)
{
    struct head head = head_peek(unpack);

    if (head.type != type || head.size == 0) {
        unpack->failed = true;
        return 0;
    }
    unpack->at += head.size;
    return head.number;
}

/* Consumes 'size' bytes of a body, or fails and gives NULL. */
static const uint8_t *body_take(struct es_unpack *unpack, uint64_t size)
{
    const uint8_t *body = unpack->at;

    if (unpack->failed || size > (uint64_t)(unpack->end - unpack->at)) {
        unpack->failed = true;
        return NULL;
    }
    unpack->at += size;
    return body;
}

uint64_t es_unpack_uint(struct es_unpack *unpack)
{
    return head_take(unpack, ES_MSGPACK_UINT);
}

uint64_t es_unpack_uint_in(struct es_unpack *unpack, uint64_t min, uint64_t max)
{
    uint64_t value = head_take(unpack, ES_MSGPACK_UINT);

    if (unpack->failed || value < min || value > max) {
        unpack->failed = true;
        return 0;
    }
    return value;
}

int64_t es_unpack_int(struct es_unpack *unpack)
{
    if (es_unpack_peek(unpack) == ES_MSGPACK_INT) {
        return (int64_t)head_take(unpack, ES_MSGPACK_INT);
    }
    return (int64_t)es_unpack_uint_in(unpack, 0, INT64_MAX);
}

bool es_unpack_bool(struct es_unpack *unpack)
{
    return head_take(unpack, ES_MSGPACK_BOOL) != 0;
}

double es_unpack_double(struct es_unpack *unpack)
{
    bool is_single = !unpack->failed && unpack->at < unpack->end && *unpack->at == 0xCA;
    uint64_t bits = head_take(unpack, ES_MSGPACK_FLOAT);
    double value = 0;

    if (is_single) {
        uint32_t single_bits = (uint32_t)bits;
        float single = 0;

        memcpy(&single, &single_bits, sizeof single);
        value = (double)single;
    } else {
        memcpy(&value, &bits, sizeof value);
    }
    return value;
}

void es_unpack_nil(struct es_unpack *unpack)
{
    (void)head_take(unpack, ES_MSGPACK_NIL);
}

bool es_unpack_try_nil(struct es_unpack *unpack)
{
    if (es_unpack_peek(unpack) != ES_MSGPACK_NIL) {
        return false;
    }
    unpack->at++;
    return true;
}

/* Head and body of a str or bin of at most 'size_max' bytes; nothing on failure. */
static struct es_bytes sized_take(struct es_unpack *unpack, enum es_msgpack_type type,
                                  uint32_t size_max)
{
    uint64_t size = head_take(unpack, type);
    const uint8_t *body = body_take(unpack, size <= size_max ? size : UINT64_MAX);

    return body != NULL ? es_bytes_make(body, (uint32_t)size) : es_bytes_make("", 0);
}

struct es_text es_unpack_str(struct es_unpack *unpack, uint32_t size_max)
{
    struct es_bytes bytes = sized_take(unpack, ES_MSGPACK_STR, size_max);

    return es_text_make((const char *)bytes.data, bytes.size);
}

struct es_text es_unpack_utf8(struct es_unpack *unpack, uint32_t size_max)
{
    struct es_text text = es_unpack_str(unpack, size_max);

    if (!es_utf8_valid(text)) {
        unpack->failed = true;
        text = es_text_make("", 0);
    }
    return text;
}

struct es_bytes es_unpack_bin(struct es_unpack *unpack, uint32_t size_max)
{
    return sized_take(unpack, ES_MSGPACK_BIN, size_max);
}

const uint8_t *es_unpack_bin_of(struct es_unpack *unpack, uint32_t size)
{
    struct es_bytes bytes = sized_take(unpack, ES_MSGPACK_BIN, size);

    if (unpack->failed || bytes.size != size) {
        unpack->failed = true;
        return NULL;
    }
    return bytes.data;
}

void es_unpack_bin_copy(struct es_unpack *unpack, uint8_t *ret_bytes, uint32_t size)
{
    const uint8_t *bytes = es_unpack_bin_of(unpack, size);

    if (bytes != NULL) {
        memcpy(ret_bytes, bytes, size);
    } else {
        memset(ret_bytes, 0, size);
    }
}

struct es_bytes es_unpack_hash_or_empty(struct es_unpack *unpack)
{
    struct es_bytes bytes = es_unpack_bin(unpack, ES_HASH_SIZE);

    if (bytes.size != 0 && bytes.size != ES_HASH_SIZE) {
        unpack->failed = true;
        bytes = es_bytes_make("", 0);
    }
    return bytes;
}

uint32_t es_unpack_array(struct es_unpack *unpack)
{
    return es_unpack_array_in(unpack, 0, UINT32_MAX);
}

uint32_t es_unpack_array_in(struct es_unpack *unpack, uint32_t min, uint32_t max)
{
    uint64_t count = head_take(unpack, ES_MSGPACK_ARRAY);

    if (unpack->failed || count < min || count > max ||
        count > (uint64_t)(unpack->end - unpack->at)) {
        unpack->failed = true;
        return 0;
    }
    return (uint32_t)count;
}

uint32_t es_unpack_map(struct es_unpack *unpack)
{
    uint64_t count = head_take(unpack, ES_MSGPACK_MAP);

    if (unpack->failed || count > (uint64_t)(unpack->end - unpack->at) / 2) {
        unpack->failed = true;
        return 0;
    }
    return (uint32_t)count;
}

/*
 * Passes over one head and, unless it opens an array or map, its body. Returns
 * how many values an array or map holds, else 0.
 */
static uint64_t skip_one(struct es_unpack *unpack)
{
    struct head head = head_peek(unpack);

    if (head.type == ES_MSGPACK_NONE || head.size == 0) {
        unpack->failed = true;
        return 0;
    }
    unpack->at += head.size;
    switch (head.type) {
    case ES_MSGPACK_STR: {
        const uint8_t *body = body_take(unpack, head.number);

        if (body != NULL &&
            !es_utf8_valid(es_text_make((const char *)body, (uint32_t)head.number))) {
            unpack->failed = true;
        }
        return 0;
    }
    case ES_MSGPACK_BIN:
    case ES_MSGPACK_EXT: (void)body_take(unpack, head.number + head.body_add); return 0;
    case ES_MSGPACK_ARRAY: return head.number;
    case ES_MSGPACK_MAP: return 2 * head.number;
    default: return 0;
    }
}

struct es_bytes es_unpack_skip(struct es_unpack *unpack)
{
    uint64_t left[ES_MSGPACK_DEPTH_MAX]; /* values still to come, at each depth */
    const uint8_t *begin = unpack->at;
    uint32_t depth = 0;

    /* Each turn consumes at least one byte, or fails, or closes a level. */
    do {
        uint64_t inside = skip_one(unpack);

        if (inside > (uint64_t)(unpack->end - unpack->at) ||
            (inside > 0 && depth == ES_MSGPACK_DEPTH_MAX)) {
            unpack->failed = true;
        } else if (inside > 0) {
            left[depth++] = inside;
            continue;
        }
        while (depth > 0 && --left[depth - 1] == 0) {
            depth--;
        }
    } while (depth > 0 && !unpack->failed);
    return unpack->failed ? es_bytes_make("", 0)
                          : es_bytes_make(begin, (uint32_t)(unpack->at - begin));
}

void es_unpack_skip_count(struct es_unpack *unpack, uint32_t count)
{
    for (uint32_t i = 0; i < count && !unpack->failed; i++) {
        (void)es_unpack_skip(unpack);
    }
}

bool es_msgpack_is_canonical_payload(const void *bytes, size_t size)
{
    struct es_unpack unpack;

    es_unpack_init(&unpack, bytes, size);
    (void)es_unpack_skip(&unpack);
    return es_unpack_done(&unpack);
}
