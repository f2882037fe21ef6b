#include "tests/corruption/damage.h"

#include <err.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/corruption/places.h"

enum {
    PAGE_BYTES = 4096
};

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

static void make_bit(const struct damage_base *base, places_fn where, uint64_t index,
                     struct damage *damage)
{
    uint64_t offset = 0;
    const struct image_file *file = places_find(where(&base->store), index / 8, &offset);

    flip(damage, file, offset, (unsigned)(index % 8));
}

/* The file ends there, or nothing but zeros comes. */
static void make_tail_cut(const struct damage_base *base, places_fn where, uint64_t index,
                          struct damage *ret_damage)
{
    uint64_t offset = 0;
    const struct image_file *file = places_find(where(&base->store), index / 2, &offset);
    struct image_file *changed = change(ret_damage, file);

    if (index % 2 == 0) {
        changed->size = offset;
    } else {
        memset(changed->bytes + offset, 0, file->size - offset);
    }
    describe(ret_damage, "%s: %s from byte %" PRIu64 " of %" PRIu64, file->name,
             index % 2 == 0 ? "cut" : "zeros", offset, file->size);
}

static void make_cut(const struct damage_base *base, places_fn where, uint64_t index,
                     struct damage *damage)
{
    uint64_t offset = 0;
    const struct image_file *file = places_find(where(&base->store), index, &offset);

    change(damage, file)->size = offset;
    describe(damage, "%s: cut at byte %" PRIu64 " of %" PRIu64, file->name, offset, file->size);
}

/* A class whose damages are numbered: so many of each byte of some places. */
#define PLACES_CLASS(name, places, per_byte, make_one)                                           \
    static uint64_t count_##name(const struct damage_base *base)                                 \
    {                                                                                            \
        return places(&base->store)->bytes * (per_byte);                                         \
    }                                                                                            \
    static void make_##name(const struct damage_base *base, uint64_t index, struct prng *random, \
                            struct damage *ret_damage)                                           \
    {                                                                                            \
        (void)random;                                                                            \
        make_one(base, places, index, ret_damage);                                               \
    }

PLACES_CLASS(manifest_bit, places_manifest, 8, make_bit)
PLACES_CLASS(current_bit, places_current, 8, make_bit)
PLACES_CLASS(anchor_bit, places_anchor, 8, make_bit)
PLACES_CLASS(segment_header_bit, places_segment_headers, 8, make_bit)
PLACES_CLASS(record_header_bit, places_record_headers, 8, make_bit)
PLACES_CLASS(sst_footer_bit, places_sst_footers, 8, make_bit)
PLACES_CLASS(log_cut, places_log_tail, 2, make_tail_cut)
PLACES_CLASS(older_log_cut, places_log_rest, 2, make_tail_cut)
PLACES_CLASS(file_cut, places_other_tails, 1, make_cut)
PLACES_CLASS(unread_cut, places_unread, 1, make_cut)
PLACES_CLASS(boundary_cut, places_boundaries, 1, make_cut)

static void make_random_bit(const struct damage_base *base, uint64_t index, struct prng *random,
                            struct damage *ret_damage)
{
    const struct places *places = places_everywhere(&base->store);

    (void)index;
    make_bit(base, places_everywhere, prng_below(random, places->bytes * 8), ret_damage);
}

/* A random page of a random file. */
static const struct image_file *random_page(const struct damage_base *base, struct prng *random,
                                            uint64_t *ret_from, uint64_t *ret_size)
{
    const struct places *places = places_everywhere(&base->store);
    const struct image_file *file =
        places_find(places, prng_below(random, places->bytes), ret_from);

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
    {"log-cuts", "the last 64 KiB of the log cut, or zeroed, at every byte", count_log_cut,
     make_log_cut},
    {"older-log-cuts", "the log before that cut, or zeroed, at every byte", count_older_log_cut,
     make_older_log_cut},
    {"file-cuts", "every other file cut at every byte of its last 64 KiB", count_file_cut,
     make_file_cut},
    {"unread-cuts", "OPTIONS and IDENTITY cut at every byte", count_unread_cut, make_unread_cut},
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
