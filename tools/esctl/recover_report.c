#include "tools/esctl/recover_report.h"

#include "shm/codec/hash.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum status {
    WHOLE,
    DAMAGED,
    RECOVERED
};

enum es_status recover_report_init(struct recover_report *report, const char *data_dir,
                                   bool is_done)
{
    *report = (struct recover_report){.data_dir = data_dir, .is_done = is_done};
    json_out_init(&report->streams);
    json_out_init(&report->keys);
    json_out_open(&report->streams, '[');
    json_out_open(&report->keys, '[');
    report->lines_stream = open_memstream(&report->lines, &report->lines_size);
    return report->lines_stream != NULL ? ES_OK : ES_E_NO_MEMORY;
}

void recover_report_deinit(struct recover_report *report)
{
    json_out_deinit(&report->streams);
    json_out_deinit(&report->keys);
    if (report->lines_stream != NULL) {
        (void)fclose(report->lines_stream);
    }
    free(report->lines);
}

void recover_report_lost_stream(void *context, struct es_text stream, uint64_t last_sequence,
                                uint64_t last_position)
{
    struct recover_report *report = context;

    json_out_open(&report->streams, '{');
    json_out_name(&report->streams, "stream");
    json_out_string(&report->streams, stream.data, stream.size);
    json_out_member_uint(&report->streams, "last_sequence", last_sequence);
    json_out_member_uint(&report->streams, "last_position", last_position);
    json_out_close(&report->streams, '}');
    (void)fprintf(report->lines_stream,
                  "  stream %.*s: went up to sequence %" PRIu64 ", position %" PRIu64 "\n",
                  (int)stream.size, stream.data, last_sequence, last_position);
}

void recover_report_lost_key(void *context, struct es_text name_space, struct es_text key)
{
    struct recover_report *report = context;

    json_out_open(&report->keys, '{');
    json_out_name(&report->keys, "namespace");
    json_out_string(&report->keys, name_space.data, name_space.size);
    json_out_name(&report->keys, "key");
    json_out_string(&report->keys, key.data, key.size);
    json_out_close(&report->keys, '}');
    (void)fprintf(report->lines_stream, "  key %.*s:%.*s: its value is lost\n",
                  (int)name_space.size, name_space.data, (int)key.size, key.data);
}

static enum status status_of(const struct recover_report *report,
                             const struct recover_finding *finding)
{
    if (report->is_done) {
        return RECOVERED;
    }
    return finding->is_whole && !finding->is_refused ? WHOLE : DAMAGED;
}

/* ---- text ----------------------------------------------------------------------------- */

static void print_loss(const struct recover_report *report, const struct recover_finding *finding,
                       FILE *stream)
{
    const char *verb = report->is_done ? "are lost" : "would be lost";

    if (finding->known_position > finding->end.position) {
        (void)fprintf(stream,
                      "positions %" PRIu64 " to %" PRIu64 " %s (commits %" PRIu64 " to %" PRIu64
                      "), at least\n",
                      finding->end.position + 1, finding->known_position, verb,
                      finding->end.commit_number + 1,
                      finding->known_commit > finding->end.commit_number
                          ? finding->known_commit
                          : finding->end.commit_number + 1);
    } else if (finding->known_commit > finding->end.commit_number) {
        (void)fprintf(stream, "commits %" PRIu64 " to %" PRIu64 " %s, which changed keys only\n",
                      finding->end.commit_number + 1, finding->known_commit, verb);
    } else {
        (void)fprintf(stream, "nothing is missing that anything left here tells of\n");
    }
    if (finding->end_why[0] != '\0') {
        (void)fprintf(stream, "the provable history ends because %s\n", finding->end_why);
    }
    if (finding->lost_stream_count > 0) {
        (void)fprintf(stream, "streams that went further: %" PRIu64 "\n",
                      finding->lost_stream_count);
    }
    if (finding->lost_key_count > 0) {
        (void)fprintf(stream, "keys without their value: %" PRIu64 "\n", finding->lost_key_count);
    }
    if (finding->dropped_read_models > 0) {
        (void)fprintf(stream,
                      "read-model values that are left out, to be built anew: %" PRIu64 "\n",
                      finding->dropped_read_models);
    }
}

enum es_status recover_report_text(struct recover_report *report,
                                   const struct recover_finding *finding, FILE *stream)
{
    char store_id[2 * ES_STORE_ID_SIZE + 1] = {0};

    es_hex_encode(finding->store_id, ES_STORE_ID_SIZE, store_id);
    (void)fprintf(stream, "store %s in %s, epoch %016" PRIx64 "\n", store_id, report->data_dir,
                  finding->epoch);
    if (finding->is_refused) {
        (void)fprintf(stream, "a broker does not start on it: %s\n", finding->refusal);
    }
    for (uint32_t i = 0; i < finding->note_count; i++) {
        (void)fprintf(stream, "damage: %s\n", finding->notes[i]);
    }
    if (finding->rocksdb == RECOVER_ROCKSDB_LISTED) {
        (void)fprintf(stream, "RocksDB's list of files was made anew from the files\n");
    }
    (void)fprintf(stream,
                  "positions 1 to %" PRIu64 " (commits 1 to %" PRIu64 ") can be proven and %s\n",
                  finding->end.position, finding->end.commit_number,
                  report->is_done ? "are kept" : "would be kept");
    print_loss(report, finding, stream);
    (void)fflush(report->lines_stream);
    (void)fwrite(report->lines, 1, report->lines_size, stream);
    if (report->is_done) {
        (void)fprintf(stream,
                      "epoch %016" PRIx64 " begins with position %" PRIu64
                      "; the damaged files are in %s/%s\n",
                      finding->new_epoch, finding->end.position + 1, report->data_dir,
                      finding->aside);
    }
    return fflush(stream) == 0 && ferror(stream) == 0 ? ES_OK : ES_E_IO;
}

/* ---- JSON ----------------------------------------------------------------------------- */

static void member_epoch(struct json_out *line, const char *name, uint64_t epoch)
{
    char text[17];

    (void)snprintf(text, sizeof text, "%016" PRIx64, epoch);
    json_out_member_string(line, name, text);
}

static void member_list(struct json_out *line, const char *name, const struct json_out *list)
{
    json_out_name(line, name);
    json_out_raw(line, list->text, list->size);
}

static void members_of_end(struct json_out *line, const struct recover_finding *finding)
{
    json_out_member_uint(line, "kept_position", finding->end.position);
    json_out_member_uint(line, "kept_commit", finding->end.commit_number);
    json_out_member_hex(line, "kept_store_hash", finding->end.store_hash, ES_HASH_SIZE);
    json_out_member_uint(line, "known_position", finding->known_position);
    json_out_member_uint(line, "known_commit", finding->known_commit);
    json_out_member_uint(line, "lost_positions",
                         finding->known_position > finding->end.position
                             ? finding->known_position - finding->end.position
                             : 0);
    json_out_member_string(line, "ends_because", finding->end_why);
    json_out_member_uint(line, "dropped_read_models", finding->dropped_read_models);
}

enum es_status recover_report_json(struct recover_report *report,
                                   const struct recover_finding *finding, FILE *stream)
{
    static const char *const names[] = {
        [WHOLE] = "whole", [DAMAGED] = "damaged", [RECOVERED] = "recovered"};
    enum es_status status = ES_OK;
    struct json_out line;

    if (!report->is_closed) {
        json_out_close(&report->streams, ']');
        json_out_close(&report->keys, ']');
        report->is_closed = true;
    }
    json_out_init(&line);
    json_out_open(&line, '{');
    json_out_member_string(&line, "status", names[status_of(report, finding)]);
    json_out_member_string(&line, "data", report->data_dir);
    json_out_member_hex(&line, "store_id", finding->store_id, ES_STORE_ID_SIZE);
    member_epoch(&line, "epoch", finding->epoch);
    json_out_member_string(&line, "refusal", finding->is_refused ? finding->refusal : "");
    json_out_name(&line, "damage");
    json_out_open(&line, '[');
    for (uint32_t i = 0; i < finding->note_count; i++) {
        json_out_string(&line, finding->notes[i], strlen(finding->notes[i]));
    }
    json_out_close(&line, ']');
    members_of_end(&line, finding);
    member_list(&line, "lost_streams", &report->streams);
    member_list(&line, "lost_keys", &report->keys);
    if (report->is_done) {
        member_epoch(&line, "new_epoch", finding->new_epoch);
        json_out_member_string(&line, "damaged_files", finding->aside);
    }
    json_out_close(&line, '}');
    status = json_out_print(&line, stream);
    json_out_deinit(&line);
    return status == ES_OK && fflush(stream) != 0 ? ES_E_IO : status;
}
