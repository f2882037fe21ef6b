#include "tests/corruption/damage.h"

#include <err.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/log_format.h"

enum {
    SLOT_BYTES = LOG_HEADER_SLOT_BYTES,
    SST_FOOTER_BYTES = 53,
    TAIL_BYTES = 64 * 1024,
    PAGE_BYTES = 4096
};

static bool begins(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static bool ends(const char *text, const char *end)
{
    size_t size = strlen(text);

    return size >= strlen(end) && strcmp(text + size - strlen(end), end) == 0;
}

/* ---- Stretches of bytes that a class is about -------------------------------- */

struct stretch {
    const struct image_file *file;
    uint64_t from;
    uint64_t size;
};

enum {
    STRETCHES_MAX = 65536
};

struct stretches {
    struct stretch all[STRETCHES_MAX];
    uint32_t count;
    uint64_t bytes;
};

typedef void (*stretch_fn)(const struct image_file *file, struct stretches *stretches);

static void add(struct stretches *stretches, const struct image_file *file, uint64_t from,
                uint64_t size)
{
    if (stretches->count == STRETCHES_MAX) {
        errx(2, "too many stretches");
    }
    stretches->all[stretches->count++] = (struct stretch){file, from, size};
    stretches->bytes += size;
}

static const struct stretches *stretches_of(const struct damage_base *base, stretch_fn look)
{
    static struct stretches stretches;

    stretches.count = 0;
    stretches.bytes = 0;
    for (uint32_t i = 0; i < base->store.file_count; i++) {
        look(&base->store.files[i], &stretches);
    }
    return &stretches;
}

static void whole_if(bool is_meant, const struct image_file *file, struct stretches *stretches)
{
    if (is_meant && file->size > 0) {
        add(stretches, file, 0, file->size);
    }
}

static void in_manifest(const struct image_file *file, struct stretches *stretches)
{
    whole_if(begins(file->name, "rocksdb/MANIFEST"), file, stretches);
}

static void in_current(const struct image_file *file, struct stretches *stretches)
{
    whole_if(strcmp(file->name, "rocksdb/CURRENT") == 0, file, stretches);
}

static void in_anchor(const struct image_file *file, struct stretches *stretches)
{
    whole_if(strcmp(file->name, "anchor") == 0, file, stretches);
}

static void in_segment_headers(const struct image_file *file, struct stretches *stretches)
{
    for (uint64_t slot = 0; begins(file->name, "log/") && slot < LOG_HEADER_SLOT_COUNT; slot++) {
        add(stretches, file, slot * LOG_HEADER_SLOT_STRIDE, SLOT_BYTES);
    }
}

/* The end of the last record in a segment file, or 0. */
static uint64_t visit_records(const struct image_file *file, struct stretches *stretches)
{
    uint64_t end = 0;

    for (uint64_t at = LOG_HEADER_PAGE_BYTES; begins(file->name, "log/") && at + 48 <= file->size;
         at += LOG_RECORD_ALIGNMENT) {
        uint32_t body_bytes = 0;

        if (memcmp(file->bytes + at, "ESRC", 4) == 0) {
            memcpy(&body_bytes, file->bytes + at + 4, sizeof body_bytes);
            if (stretches != NULL) {
                add(stretches, file, at, LOG_RECORD_HEADER_BYTES);
            }
            end = at + LOG_RECORD_HEADER_BYTES + body_bytes;
        }
    }
    return end < file->size ? end : file->size;
}

static void in_record_headers(const struct image_file *file, struct stretches *stretches)
{
    (void)visit_records(file, stretches);
}

static void in_sst_footers(const struct image_file *file, struct stretches *stretches)
{
    if (ends(file->name, ".sst")) {
        add(stretches, file, file->size - SST_FOOTER_BYTES, SST_FOOTER_BYTES);
    }
}

static void in_log_tails(const struct image_file *file, struct stretches *stretches)
{
    uint64_t end = visit_records(file, NULL);

    if (end > 0) {
        uint64_t from = end > TAIL_BYTES ? end - TAIL_BYTES : 0;

        add(stretches, file, from, end - from);
    }
}

static void at_other_ends(const struct image_file *file, struct stretches *stretches)
{
    if (!begins(file->name, "log/") && file->size > 0) {
        uint64_t from = file->size > TAIL_BYTES ? file->size - TAIL_BYTES : 0;

        add(stretches, file, from, file->size - from);
    }
}

/* One byte for each place where something begins: a record of the log, else a page. */
static void at_boundaries(const struct image_file *file, struct stretches *stretches)
{
    static struct stretches records;

    records.count = 0;
    records.bytes = 0;
    if (begins(file->name, "log/")) {
        (void)visit_records(file, &records);
        for (uint32_t i = 0; i < records.count; i++) {
            add(stretches, file, records.all[i].from, 1);
        }
    } else {
        for (uint64_t at = 0; at < file->size; at += PAGE_BYTES) {
            add(stretches, file, at, 1);
        }
    }
}

static void everywhere(const struct image_file *file, struct stretches *stretches)
{
    whole_if(true, file, stretches);
}

/* The file, and the place in it, of byte 'index' of all stretches. */
static const struct image_file *place(const struct stretches *stretches, uint64_t index,
                                      uint64_t *ret_offset)
{
    for (uint32_t i = 0; i < stretches->count; i++) {
        const struct stretch *stretch = &stretches->all[i];

        if (index < stretch->size) {
            *ret_offset = stretch->from + index;
            return stretch->file;
        }
        index -= stretch->size;
    }
    errx(2, "there is no such damage");
}

/* ---- Single damages ---------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static void describe(struct damage *damage,
                                                           const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(damage->what, sizeof damage->what, format, arguments);
    va_end(arguments);
}

static struct image_file *change(struct damage *damage, const struct image_file *file)
{
    struct image_file *changed = &damage->changes[damage->change_count++];

    *changed = *file;
    changed->bytes = malloc(file->size + 1);
    if (changed->bytes == NULL) {
        err(2, "malloc");
    }
    memcpy(changed->bytes, file->bytes, file->size);
    return changed;
}

static void flip(struct damage *damage, const struct image_file *file, uint64_t offset,
                 unsigned bit)
{
    change(damage, file)->bytes[offset] ^= (uint8_t)(1U << bit);
    describe(damage, "%s: bit %u of byte %" PRIu64 " of %" PRIu64, file->name, bit, offset,
             file->size);
}

static void make_bit(const struct damage_base *base, stretch_fn where, uint64_t index,
                     struct damage *damage)
{
    uint64_t offset = 0;
    const struct image_file *file = place(stretches_of(base, where), index / 8, &offset);

    flip(damage, file, offset, (unsigned)(index % 8));
}

#define BIT_CLASS(name, where)                                                                   \
    static uint64_t count_##name(const struct damage_base *base)                                 \
    {                                                                                            \
        return stretches_of(base, where)->bytes * 8;                                             \
    }                                                                                            \
    static void make_##name(const struct damage_base *base, uint64_t index, struct prng *random, \
                            struct damage *ret_damage)                                           \
    {                                                                                            \
        (void)random;                                                                            \
        make_bit(base, where, index, ret_damage);                                                \
    }

BIT_CLASS(manifest_bit, in_manifest)
BIT_CLASS(current_bit, in_current)
BIT_CLASS(anchor_bit, in_anchor)
BIT_CLASS(segment_header_bit, in_segment_headers)
BIT_CLASS(record_header_bit, in_record_headers)
BIT_CLASS(sst_footer_bit, in_sst_footers)

static void make_random_bit(const struct damage_base *base, uint64_t index, struct prng *random,
                            struct damage *ret_damage)
{
    const struct stretches *stretches = stretches_of(base, everywhere);

    (void)index;
    make_bit(base, everywhere, prng_below(random, stretches->bytes * 8), ret_damage);
}

static uint64_t count_log_cut(const struct damage_base *base)
{
    return stretches_of(base, in_log_tails)->bytes * 2;
}

/* The file ends there, or nothing but zeros comes. */
static void make_log_cut(const struct damage_base *base, uint64_t index, struct prng *random,
                         struct damage *ret_damage)
{
    uint64_t offset = 0;
    const struct image_file *file = place(stretches_of(base, in_log_tails), index / 2, &offset);
    struct image_file *changed = change(ret_damage, file);

    (void)random;
    if (index % 2 == 0) {
        changed->size = offset;
    } else {
        memset(changed->bytes + offset, 0, file->size - offset);
    }
    describe(ret_damage, "%s: %s from byte %" PRIu64 " of %" PRIu64, file->name,
             index % 2 == 0 ? "cut" : "zeros", offset, file->size);
}

static void make_cut(const struct damage_base *base, stretch_fn where, uint64_t index,
                     struct damage *damage)
{
    uint64_t offset = 0;
    const struct image_file *file = place(stretches_of(base, where), index, &offset);

    change(damage, file)->size = offset;
    describe(damage, "%s: cut at byte %" PRIu64 " of %" PRIu64, file->name, offset, file->size);
}

#define CUT_CLASS(name, where)                                                                   \
    static uint64_t count_##name(const struct damage_base *base)                                 \
    {                                                                                            \
        return stretches_of(base, where)->bytes;                                                 \
    }                                                                                            \
    static void make_##name(const struct damage_base *base, uint64_t index, struct prng *random, \
                            struct damage *ret_damage)                                           \
    {                                                                                            \
        (void)random;                                                                            \
        make_cut(base, where, index, ret_damage);                                                \
    }

CUT_CLASS(file_cut, at_other_ends)
CUT_CLASS(boundary_cut, at_boundaries)

/* A random page of a random file. */
static const struct image_file *random_page(const struct damage_base *base, struct prng *random,
                                            uint64_t *ret_from, uint64_t *ret_size)
{
    const struct stretches *stretches = stretches_of(base, everywhere);
    const struct image_file *file =
        place(stretches, prng_below(random, stretches->bytes), ret_from);

    *ret_from -= *ret_from % PAGE_BYTES;
    *ret_size = file->size - *ret_from < PAGE_BYTES ? file->size - *ret_from : PAGE_BYTES;
    return file;
}

static void make_zeroed_page(const struct damage_base *base, uint64_t index, struct prng *random,
                             struct damage *ret_damage)
{
    uint64_t from = 0;
    uint64_t size = 0;
    const struct image_file *file = random_page(base, random, &from, &size);

    (void)index;
    memset(change(ret_damage, file)->bytes + from, 0, size);
    describe(ret_damage, "%s: zeros in the page at %" PRIu64 " of %" PRIu64, file->name, from,
             file->size);
}

static void make_swapped_pages(const struct damage_base *base, uint64_t index, struct prng *random,
                               struct damage *ret_damage)
{
    uint64_t from = 0;
    uint64_t size = 0;
    uint64_t other_from = 0;
    uint64_t other_size = 0;
    const struct image_file *file = random_page(base, random, &from, &size);
    const struct image_file *other = random_page(base, random, &other_from, &other_size);
    struct image_file *changed = change(ret_damage, file);

    (void)index;
    size = size < other_size ? size : other_size;
    if (other == file) {
        memcpy(changed->bytes + from, file->bytes + other_from, size);
        memcpy(changed->bytes + other_from, file->bytes + from, size);
    } else {
        memcpy(changed->bytes + from, other->bytes + other_from, size);
        memcpy(change(ret_damage, other)->bytes + other_from, file->bytes + from, size);
    }
    describe(ret_damage, "%s at %" PRIu64 " and %s at %" PRIu64 ": %" PRIu64 " bytes swapped",
             file->name, from, other->name, other_from, size);
}

static uint64_t count_deleted(const struct damage_base *base)
{
    return base->store.file_count;
}

static void make_deleted(const struct damage_base *base, uint64_t index, struct prng *random,
                         struct damage *ret_damage)
{
    const struct image_file *file = &base->store.files[index];

    (void)random;
    ret_damage->changes[0] = *file;
    ret_damage->changes[0].bytes = NULL;
    ret_damage->change_count = 1;
    describe(ret_damage, "%s deleted", file->name);
}

static uint64_t count_swapped(const struct damage_base *base)
{
    return (uint64_t)base->store.file_count * (base->store.file_count - 1) / 2;
}

static void make_swapped(const struct damage_base *base, uint64_t index, struct prng *random,
                         struct damage *ret_damage)
{
    uint32_t second = 1;
    struct image_file *changed = NULL;

    (void)random;
    while (index >= second) {
        index -= second++;
    }
    for (int i = 0; i < 2; i++) {
        const struct image_file *to = &base->store.files[i == 0 ? index : second];
        const struct image_file *from = &base->store.files[i == 0 ? second : index];

        changed = change(ret_damage, from);
        memcpy(changed->name, to->name, sizeof changed->name);
    }
    describe(ret_damage, "%.100s and %.100s swapped", base->store.files[index].name,
             base->store.files[second].name);
}

/* Of each file that an older state has too, with other bytes. */
static uint64_t each_older(const struct damage_base *base, uint64_t wanted,
                           const struct image_file **ret_file)
{
    uint64_t count = 0;

    for (uint32_t i = 0; i < base->older_count; i++) {
        for (uint32_t j = 0; j < base->older[i].file_count; j++) {
            const struct image_file *old = &base->older[i].files[j];
            const struct image_file *now = directory_image_find(&base->store, old->name);

            if (now != NULL && now->size == old->size &&
                memcmp(now->bytes, old->bytes, now->size) == 0) {
                continue;
            }
            if (count++ == wanted) {
                *ret_file = old;
            }
        }
    }
    return count;
}

static uint64_t count_older_file(const struct damage_base *base)
{
    const struct image_file *none = NULL;

    return each_older(base, UINT64_MAX, &none);
}

static void make_older_file(const struct damage_base *base, uint64_t index, struct prng *random,
                            struct damage *ret_damage)
{
    const struct image_file *file = NULL;

    (void)random;
    (void)each_older(base, index, &file);
    (void)change(ret_damage, file);
    describe(ret_damage, "%s of an older time%s", file->name,
             directory_image_find(&base->store, file->name) == NULL ? " (one too many)" : "");
}

static uint64_t count_older_directory(const struct damage_base *base)
{
    return base->older_count;
}

static void make_older_directory(const struct damage_base *base, uint64_t index,
                                 struct prng *random, struct damage *ret_damage)
{
    (void)random;
    ret_damage->image = &base->older[index];
    ret_damage->is_older_directory = true;
    describe(ret_damage, "the whole directory of an older time, %" PRIu64, index);
}

void damage_free(struct damage *damage)
{
    for (size_t i = 0; i < damage->change_count; i++) {
        free(damage->changes[i].bytes);
    }
    damage->change_count = 0;
}

const struct damage_class damage_classes[] = {
    {"manifest-bits", "every bit of MANIFEST", count_manifest_bit, make_manifest_bit},
    {"current-bits", "every bit of CURRENT", count_current_bit, make_current_bit},
    {"anchor-bits", "every bit of the anchor", count_anchor_bit, make_anchor_bit},
    {"segment-header-bits", "every bit of the log's segment headers", count_segment_header_bit,
     make_segment_header_bit},
    {"record-header-bits", "every bit of the log's record headers", count_record_header_bit,
     make_record_header_bit},
    {"sst-footer-bits", "every bit of the SST footers", count_sst_footer_bit, make_sst_footer_bit},
    {"log-cuts", "the log's tail cut, or zeroed, at every byte", count_log_cut, make_log_cut},
    {"file-cuts", "every other file cut at every byte of its last 64 KiB", count_file_cut,
     make_file_cut},
    {"boundary-cuts", "each file cut at each page, those of the log at each record",
     count_boundary_cut, make_boundary_cut},
    {"random-bits", "random bits over all files", NULL, make_random_bit},
    {"zeroed-pages", "pages zeroed", NULL, make_zeroed_page},
    {"swapped-pages", "pages swapped", NULL, make_swapped_pages},
    {"deleted-files", "each file deleted", count_deleted, make_deleted},
    {"swapped-files", "each two files swapped", count_swapped, make_swapped},
    {"older-files", "each file of an older time", count_older_file, make_older_file},
    {"older-directories", "the whole directory of an older time", count_older_directory,
     make_older_directory},
};

const uint32_t damage_class_count = sizeof damage_classes / sizeof damage_classes[0];
