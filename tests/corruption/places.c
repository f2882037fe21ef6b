#include "tests/corruption/places.h"

#include <err.h>
#include <stdlib.h>
#include <string.h>

#include "broker/log_format.h"

enum {
    SST_FOOTER_BYTES = 53,
    PAGE_BYTES = 4096
};

static struct places found;

static bool begins(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static bool ends(const char *text, const char *end)
{
    size_t size = strlen(text);

    return size >= strlen(end) && strcmp(text + size - strlen(end), end) == 0;
}

static bool is_log(const struct image_file *file)
{
    return begins(file->name, "log/");
}

bool places_is_unread(const char *name)
{
    return begins(name, "rocksdb/OPTIONS") || strcmp(name, "rocksdb/IDENTITY") == 0;
}

static void add(const struct image_file *file, uint64_t from, uint64_t size)
{
    if (found.count == PLACES_STRETCHES_MAX) {
        errx(2, "too many stretches");
    }
    if (size > 0) {
        found.all[found.count++] = (struct stretch){file, from, size};
        found.bytes += size;
    }
}

static const struct places *look(const struct directory_image *store,
                                 void (*visit)(const struct image_file *file))
{
    found.count = 0;
    found.bytes = 0;
    for (uint32_t i = 0; i < store->file_count; i++) {
        visit(&store->files[i]);
    }
    return &found;
}

static void add_if(bool is_meant, const struct image_file *file)
{
    if (is_meant) {
        add(file, 0, file->size);
    }
}

static void in_manifest(const struct image_file *file)
{
    add_if(begins(file->name, "rocksdb/MANIFEST"), file);
}

static void in_current(const struct image_file *file)
{
    add_if(strcmp(file->name, "rocksdb/CURRENT") == 0, file);
}

static void in_anchor(const struct image_file *file)
{
    add_if(strcmp(file->name, "anchor") == 0, file);
}

static void in_unread(const struct image_file *file)
{
    add_if(places_is_unread(file->name), file);
}

static void everywhere(const struct image_file *file)
{
    add_if(true, file);
}

static void in_segment_headers(const struct image_file *file)
{
    for (uint64_t slot = 0; is_log(file) && slot < LOG_HEADER_SLOT_COUNT; slot++) {
        add(file, slot * LOG_HEADER_SLOT_STRIDE, LOG_HEADER_SLOT_BYTES);
    }
}

static void in_sst_footers(const struct image_file *file)
{
    if (ends(file->name, ".sst")) {
        add(file, file->size - SST_FOOTER_BYTES, SST_FOOTER_BYTES);
    }
}

static void at_other_ends(const struct image_file *file)
{
    if (!is_log(file) && !places_is_unread(file->name)) {
        uint64_t from = file->size > PLACES_TAIL_BYTES ? file->size - PLACES_TAIL_BYTES : 0;

        add(file, from, file->size - from);
    }
}

/* Of each record in a segment file, of this or of an earlier life of it, 'size' bytes. */
static void add_records(const struct image_file *file, uint64_t size)
{
    for (uint64_t at = LOG_HEADER_PAGE_BYTES; at + LOG_RECORD_HEADER_BYTES <= file->size;
         at += LOG_RECORD_ALIGNMENT) {
        if (memcmp(file->bytes + at, "ESRC", 4) == 0) {
            add(file, at, size);
        }
    }
}

static void in_record_headers(const struct image_file *file)
{
    if (is_log(file)) {
        add_records(file, LOG_RECORD_HEADER_BYTES);
    }
}

static void at_boundaries(const struct image_file *file)
{
    if (is_log(file)) {
        add_records(file, 1);
        return;
    }
    for (uint64_t at = 0; at < file->size; at += PAGE_BYTES) {
        add(file, at, 1);
    }
}

/* ---- The end of the log --------------------------------------------------------- */

struct segment {
    const struct image_file *file;
    uint64_t number;
    uint64_t end; /* of its last record */
};

static struct segment segment_of(const struct image_file *file)
{
    struct segment segment = {.file = file, .end = LOG_HEADER_PAGE_BYTES};
    struct log_segment_header header;
    struct log_record_header record;

    if (log_header_page_decode(file->bytes, &header) != ES_OK) {
        return segment; /* never written */
    }
    segment.number = header.segment_number;
    while (segment.end + LOG_RECORD_HEADER_BYTES <= file->size &&
           log_record_header_decode(file->bytes + segment.end, header.identity.secret, &record) &&
           record.segment_number == header.segment_number) {
        segment.end += log_record_stride(record.body_bytes);
    }
    return segment;
}

static int compare_newest_first(const void *a, const void *b)
{
    const struct segment *left = a;
    const struct segment *right = b;

    return (left->number < right->number) - (left->number > right->number);
}

static const struct places *in_log(const struct directory_image *store, bool in_tail)
{
    struct segment segments[IMAGE_FILES_MAX];
    uint64_t left = PLACES_TAIL_BYTES;
    uint32_t count = 0;

    found.count = 0;
    found.bytes = 0;
    for (uint32_t i = 0; i < store->file_count; i++) {
        if (is_log(&store->files[i])) {
            segments[count++] = segment_of(&store->files[i]);
        }
    }
    qsort(segments, count, sizeof segments[0], compare_newest_first);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t tail = segments[i].end < left ? segments[i].end : left;

        if (in_tail) {
            add(segments[i].file, segments[i].end - tail, tail);
        } else {
            add(segments[i].file, 0, segments[i].end - tail);
        }
        left -= tail;
    }
    return &found;
}

/* ---- All of them ---------------------------------------------------------------- */

const struct places *places_manifest(const struct directory_image *store)
{
    return look(store, in_manifest);
}

const struct places *places_current(const struct directory_image *store)
{
    return look(store, in_current);
}

const struct places *places_anchor(const struct directory_image *store)
{
    return look(store, in_anchor);
}

const struct places *places_segment_headers(const struct directory_image *store)
{
    return look(store, in_segment_headers);
}

const struct places *places_record_headers(const struct directory_image *store)
{
    return look(store, in_record_headers);
}

const struct places *places_sst_footers(const struct directory_image *store)
{
    return look(store, in_sst_footers);
}

const struct places *places_log_tail(const struct directory_image *store)
{
    return in_log(store, true);
}

const struct places *places_log_rest(const struct directory_image *store)
{
    return in_log(store, false);
}

const struct places *places_other_tails(const struct directory_image *store)
{
    return look(store, at_other_ends);
}

const struct places *places_unread(const struct directory_image *store)
{
    return look(store, in_unread);
}

const struct places *places_boundaries(const struct directory_image *store)
{
    return look(store, at_boundaries);
}

const struct places *places_everywhere(const struct directory_image *store)
{
    return look(store, everywhere);
}

const struct image_file *places_find(const struct places *places, uint64_t index,
                                     uint64_t *ret_offset)
{
    for (uint32_t i = 0; i < places->count; i++) {
        const struct stretch *stretch = &places->all[i];

        if (index < stretch->size) {
            *ret_offset = stretch->from + index;
            return stretch->file;
        }
        index -= stretch->size;
    }
    errx(2, "there is no such damage");
}
