#include "broker/broker_parts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "broker/lanes_take_over.h"
#include "broker/process.h"
#include "shm/probe.h"

void broker_parts_init(struct broker_parts *parts, const struct options *options,
                       void (*failed)(const char *what, const char *why))
{
    memset(parts, 0, sizeof *parts);
    parts->options = options;
    parts->failed = failed;
    parts->geometry = options->geometry;
    parts->run.fd = parts->run.lock_fd = parts->run.segments_fd = -1;
    parts->startup.directory.fd = parts->startup.directory.lock_fd = -1;
}

static struct lanes_config lanes_config_of(const struct broker_parts *parts,
                                           const uint8_t *store_id, const uint8_t *boot_id)
{
    const struct options *options = parts->options;
    struct lanes_config config = {
        .directory_fd = parts->run.segments_fd,
        .group = options->group_given ? options->group : ES_GROUP_NONE,
        .counters = (struct counters *)&parts->counters,
    };

    memcpy(config.identity.store_id, store_id, sizeof config.identity.store_id);
    memcpy(config.identity.boot_id, boot_id, sizeof config.identity.boot_id);
    config.identity.geometry = parts->geometry;
    config.identity.durability = options->syncs_commits ? ES_DURABILITY_FSYNC : ES_DURABILITY_OS;
    config.identity.broker_pid = (uint32_t)getpid();
    config.identity.broker_start_time = process_start_time(getpid());
    return config;
}

static void look(void *context, const uint8_t *store_id, const uint8_t *boot_id,
                 struct lanes_remains *ret_remains)
{
    const struct broker_parts *parts = context;
    struct lanes_config config = lanes_config_of(parts, store_id, boot_id);

    lanes_look(parts->run.segments_fd, &config, ret_remains);
}

static enum es_status make_batches(struct broker_parts *parts, const struct log_geometry *geometry)
{
    uint32_t record_max = parts->geometry.payload_bytes_max;
    uint32_t batch_max = 0;

    for (int i = 0; i < COMMIT_LOOP_BATCHES; i++) {
        enum es_status status = batch_new(log_body_bytes_max(geometry), &parts->batches[i]);

        if (status != ES_OK) {
            snprintf(parts->why, sizeof parts->why, "not enough memory");
            return status;
        }
    }
    batch_max = batch_transaction_bytes_max(parts->batches[0]);
    parts->transaction_bytes_max = batch_max < record_max ? batch_max : record_max;
    return ES_OK;
}

/* Records that a former broker has not taken must be read as they were written. */
static void keep_geometry(struct broker_parts *parts, const struct es_geometry *found)
{
    if (memcmp(&parts->geometry, found, sizeof *found) != 0) {
        log_warning("producers are attached to %u slots and lanes of %u bytes: these stay until a "
                    "stop without producers",
                    found->slot_count, found->arena_bytes);
        parts->geometry = *found;
    }
}

/* Shared memory, while the store's history stands still. */
static enum es_status open_lanes(void *context, const struct startup *startup)
{
    struct broker_parts *parts = context;
    struct lanes_config config;
    struct es_control_head head = {.batch_number = startup->end.batch_number,
                                   .commit_number = startup->end.commit_number,
                                   .durable_position = startup->end.position};
    enum es_status status = ES_OK;

    if (startup->remains.is_usable) {
        keep_geometry(parts, &startup->remains.identity.geometry);
    }
    config = lanes_config_of(parts, startup->state.store_id, startup->boot_id);
    status = make_batches(parts, &log_origin(startup->log)->geometry);
    if (status != ES_OK) {
        return status;
    }
    memcpy(head.store_hash, startup->end.store_hash, sizeof head.store_hash);
    config.identity.start_number = startup->state.start_number;
    config.identity.epoch = startup->state.epoch;
    config.identity.transaction_bytes_max = parts->transaction_bytes_max;
    status = startup->remains.is_usable
                 ? lanes_take_over(&config, &head, &startup->ahead, &parts->lanes)
                 : lanes_new(&config, &head, &parts->lanes);
    if (status != ES_OK) {
        snprintf(parts->why, sizeof parts->why,
                 "cannot make shared memory for %s: %s (%s): make room in /dev/shm, or give "
                 "smaller --slots",
                 parts->options->run_path, es_status_text(status), strerror(errno));
    }
    return status;
}

static enum es_status open_store(struct broker_parts *parts)
{
    const struct options *options = parts->options;
    struct startup_options startup = {
        .data_path = options->data_path,
        .in_memory = options->in_memory,
        .durability = options->syncs_commits ? ANCHOR_FSYNC : ANCHOR_OS,
        .geometry = {.segment_count = LOG_SEGMENT_COUNT_DEFAULT,
                     .segment_bytes = options->segment_bytes},
        .look = look,
        .look_context = parts,
        .take_over = open_lanes,
        .take_over_context = parts,
    };
    enum es_status status = startup_open(&startup, &parts->counters, &parts->startup, parts->why);

    if (status == ES_OK) {
        log_info("the store holds positions 1 to %" PRIu64 " in %" PRIu64 " commits; %" PRIu64
                 " batches came from the log",
                 parts->startup.end.position, parts->startup.end.commit_number,
                 parts->startup.replayed_batches);
    }
    return status;
}

static enum es_status open_sockets(struct broker_parts *parts)
{
    const struct startup *startup = &parts->startup;
    struct transport_config transport = {.requests_path = parts->run.requests_path,
                                         .events_path = parts->run.events_path,
                                         .group_given = parts->options->group_given,
                                         .group_id = parts->options->group};
    struct publisher_config publisher = {.counters = &parts->counters,
                                         .store_id = startup->state.store_id,
                                         .epoch = startup->state.epoch,
                                         .start_number = startup->state.start_number,
                                         .head_position = startup->end.position};
    enum es_status status = transport_new(&transport, parts->why, &parts->transport);

    if (status != ES_OK) {
        return status;
    }
    publisher.transport = parts->transport;
    memcpy(publisher.store_hash, startup->end.store_hash, sizeof publisher.store_hash);
    status = publisher_new(&publisher, &parts->publisher);
    if (status != ES_OK) {
        snprintf(parts->why, sizeof parts->why, "cannot start the publisher: %s",
                 es_status_text(status));
    }
    return status;
}

static void publish(void *context, const struct publication *publication)
{
    publisher_commit(context, publication);
}

/* The way of an event: inbox and lanes, drain, sequencer, committer. */
static enum es_status make_commit_path(struct broker_parts *parts)
{
    struct startup *startup = &parts->startup;
    struct drain_config drain = {.lanes = parts->lanes,
                                 .counters = &parts->counters,
                                 .record_bytes_max = parts->geometry.record_bytes_max};
    struct flusher_config flusher = {startup->store, startup->log, &parts->counters, parts->failed};
    struct witness_config witness = {.anchor = startup->anchor,
                                     .log = startup->log,
                                     .syncs_log = !parts->options->syncs_commits,
                                     .is_at_once = parts->options->syncs_anchor,
                                     .failed = parts->failed};
    struct scribe_config scribe = {.log = startup->log,
                                   .counters = &parts->counters,
                                   .syncs_commits = parts->options->syncs_commits};
    struct committer_config committer = {.store = startup->store,
                                         .heads = startup->heads,
                                         .lanes = parts->lanes,
                                         .publish = publish,
                                         .publish_context = parts->publisher,
                                         .counters = &parts->counters,
                                         .epoch = startup->state.epoch};
    enum es_status status = commit_loop_new(&parts->loop);

    status = status != ES_OK ? status : inbox_new(commit_loop_wake, parts->loop, &parts->inbox);
    status =
        status != ES_OK ? status : sequencer_new(startup->store, startup->heads, &parts->sequencer);
    drain.inbox = parts->inbox;
    drain.sequencer = parts->sequencer;
    drain.heads = parts->startup.heads;
    status = status != ES_OK ? status : drain_new(&drain, &parts->drain);
    status = status != ES_OK ? status : flusher_new(&flusher, &parts->flusher);
    scribe.flusher = parts->flusher;
    status = status != ES_OK ? status : scribe_new(&scribe, &parts->scribe);
    status = status != ES_OK ? status : witness_new(&witness, &startup->state, &parts->witness);
    committer.inbox = parts->inbox;
    committer.flusher = parts->flusher;
    committer.scribe = parts->scribe;
    committer.witness = parts->witness;
    status = status != ES_OK ? status : committer_new(&committer, &startup->end, &parts->committer);
    if (status != ES_OK) {
        snprintf(parts->why, sizeof parts->why, "cannot make the commit path: %s",
                 es_status_text(status));
    }
    return status;
}

static enum es_status make_control(struct broker_parts *parts)
{
    struct control_config config = {.socket_path = parts->run.control_path,
                                    .group_given = parts->options->group_given,
                                    .group = parts->options->group,
                                    .inbox = parts->inbox,
                                    .lanes = parts->lanes};

    return control_new(&config, parts->why, &parts->control);
}

enum es_status broker_parts_make(struct broker_parts *parts)
{
    enum es_status status = run_directory_open(parts->options, &parts->run, parts->why);

    status = status != ES_OK ? status : open_store(parts);
    status = status != ES_OK ? status : open_sockets(parts);
    ES_PROBE(start_sockets_open);
    status = status != ES_OK ? status : make_commit_path(parts);
    status = status != ES_OK ? status : make_control(parts);
    ES_PROBE(start_control_open);
    return status;
}

enum es_status broker_parts_make_questions(struct broker_parts *parts)
{
    const struct startup *startup = &parts->startup;
    struct requests_config requests = {.transport = parts->transport,
                                       .store = startup->store,
                                       .inbox = parts->inbox,
                                       .counters = &parts->counters,
                                       .request_counters = &parts->request_counters,
                                       .epoch = startup->state.epoch,
                                       .start_number = startup->state.start_number,
                                       .durability = parts->options->syncs_commits ? 0 : 1,
                                       .transaction_bytes_max = parts->transaction_bytes_max,
                                       .status = broker_status_pack,
                                       .status_context = &parts->status};
    struct backup_config backup = {.directory = &startup->directory,
                                   .store = startup->store,
                                   .log = startup->log,
                                   .flusher = parts->flusher,
                                   .inbox = parts->inbox,
                                   .committer = parts->committer,
                                   .reserve_bytes = parts->options->reserve_bytes,
                                   .state = startup->state};
    enum es_status status = ES_OK;

    memcpy(requests.store_id, startup->state.store_id, sizeof requests.store_id);
    if (!parts->options->in_memory && backup_new(&backup, &parts->backup) != ES_OK) {
        snprintf(parts->why, sizeof parts->why, "not enough memory");
        return ES_E_NO_MEMORY;
    }
    requests.backup = parts->backup;
    parts->status = (struct broker_status){.inbox = parts->inbox,
                                           .lanes = parts->lanes,
                                           .store = startup->store,
                                           .committer = parts->committer,
                                           .syncs_commits = parts->options->syncs_commits,
                                           .in_memory = parts->options->in_memory};
    status = requests_new(&requests, &parts->requests);
    if (status != ES_OK) {
        snprintf(parts->why, sizeof parts->why, "cannot start the request workers: %s",
                 es_status_text(status));
    }
    return status;
}

void broker_parts_deinit(struct broker_parts *parts)
{
    control_free(parts->control);
    requests_free(parts->requests);
    backup_free(parts->backup);
    committer_free(parts->committer);
    witness_free(parts->witness);
    scribe_free(parts->scribe);
    flusher_free(parts->flusher);
    drain_free(parts->drain);
    sequencer_free(parts->sequencer);
    inbox_free(parts->inbox);
    commit_loop_free(parts->loop);
    publisher_free(parts->publisher);
    transport_free(parts->transport);
    lanes_free(parts->lanes);
    for (int i = 0; i < COMMIT_LOOP_BATCHES; i++) {
        batch_free(parts->batches[i]);
    }
    startup_close(&parts->startup);
    run_directory_close(&parts->run);
}
