#include "broker/broker.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "broker/backup.h"
#include "broker/broker_status.h"
#include "broker/commit_loop.h"
#include "broker/control.h"
#include "broker/last_words.h"
#include "broker/limits.h"
#include "broker/process.h"
#include "broker/publisher.h"
#include "broker/requests.h"
#include "broker/run_directory.h"
#include "broker/startup.h"
#include "shm/codec/hash.h"
#include "shm/fault.h"
#include "shm/probe.h"

/* All parts, in the order in which they are made; taken apart in reverse. */
struct broker {
    const struct options *options;
    struct counters counters;
    struct counters request_counters;
    struct run_directory run;
    struct startup startup;
    struct lanes *lanes;
    struct transport *transport;
    struct publisher *publisher;
    struct commit_loop *loop;
    struct inbox *inbox;
    struct sequencer *sequencer;
    struct batch *batches[COMMIT_LOOP_BATCHES];
    struct drain *drain;
    struct flusher *flusher;
    struct scribe *scribe;
    struct witness *witness;
    struct committer *committer;
    struct control *control;
    struct broker_status status;
    struct backup *backup;
    struct requests *requests;
    pthread_t commit_thread;
    struct es_geometry geometry; /* of shared memory: the options', or that of what was found */
    uint32_t transaction_bytes_max;
    char why[DATA_WHY_BYTES];
};

/* Fail-stop: nobody is told anything more. What was written, the next start
 * finds out; a retry here could store something twice. */
_Noreturn static void stop_at_once(const char *what, const char *why)
{
    log_error("%s failed (%s): stopping at once; start again to see what was stored", what, why);
    _exit(EX_IOERR);
}

static void fail(const char *what, const char *why)
{
    stop_at_once(what, why);
}

static int exit_code_of(enum es_status status)
{
    switch (status) {
    case ES_OK: return EX_OK;
    case ES_E_BUSY: return EX_TEMPFAIL;
    case ES_E_CORRUPT:
    case ES_E_VERSION:
    case ES_REGRESSED:
    case ES_DIVERGED: return EX_DATAERR;
    case ES_E_IO: return EX_IOERR;
    case ES_E_NO_MEMORY: return EX_TEMPFAIL;
    default: return EX_CANTCREAT;
    }
}

static struct lanes_config lanes_config_of(const struct broker *broker, const uint8_t *store_id,
                                           const uint8_t *boot_id)
{
    const struct options *options = broker->options;
    struct lanes_config config = {
        .directory_fd = broker->run.segments_fd,
        .group = options->group_given ? options->group : ES_GROUP_NONE,
        .counters = (struct counters *)&broker->counters,
    };

    memcpy(config.identity.store_id, store_id, sizeof config.identity.store_id);
    memcpy(config.identity.boot_id, boot_id, sizeof config.identity.boot_id);
    config.identity.geometry = broker->geometry;
    config.identity.durability = options->syncs_commits ? ES_DURABILITY_FSYNC : ES_DURABILITY_OS;
    config.identity.broker_pid = (uint32_t)getpid();
    config.identity.broker_start_time = process_start_time(getpid());
    return config;
}

static void look(void *context, const uint8_t *store_id, const uint8_t *boot_id,
                 struct lanes_remains *ret_remains)
{
    const struct broker *broker = context;
    struct lanes_config config = lanes_config_of(broker, store_id, boot_id);

    lanes_look(broker->run.segments_fd, &config, ret_remains);
}

static enum es_status make_batches(struct broker *broker, const struct log_geometry *geometry)
{
    uint32_t record_max = broker->geometry.payload_bytes_max;
    uint32_t batch_max = 0;

    for (int i = 0; i < COMMIT_LOOP_BATCHES; i++) {
        enum es_status status = batch_new(log_body_bytes_max(geometry), &broker->batches[i]);

        if (status != ES_OK) {
            snprintf(broker->why, sizeof broker->why, "not enough memory");
            return status;
        }
    }
    batch_max = batch_transaction_bytes_max(broker->batches[0]);
    broker->transaction_bytes_max = batch_max < record_max ? batch_max : record_max;
    return ES_OK;
}

/* Records that a former broker has not taken must be read as they were written. */
static void keep_geometry(struct broker *broker, const struct es_geometry *found)
{
    if (memcmp(&broker->geometry, found, sizeof *found) != 0) {
        log_warning("producers are attached to %u slots and lanes of %u bytes: these stay until a "
                    "stop without producers",
                    found->slot_count, found->arena_bytes);
        broker->geometry = *found;
    }
}

/* Shared memory, while the store's history stands still. */
static enum es_status open_lanes(void *context, const struct startup *startup)
{
    struct broker *broker = context;
    struct lanes_config config;
    struct es_control_head head = {.batch_number = startup->end.batch_number,
                                   .commit_number = startup->end.commit_number,
                                   .durable_position = startup->end.position};
    enum es_status status = ES_OK;

    if (startup->remains.is_usable) {
        keep_geometry(broker, &startup->remains.identity.geometry);
    }
    config = lanes_config_of(broker, startup->state.store_id, startup->boot_id);
    status = make_batches(broker, &log_origin(startup->log)->geometry);
    if (status != ES_OK) {
        return status;
    }
    memcpy(head.store_hash, startup->end.store_hash, sizeof head.store_hash);
    config.identity.start_number = startup->state.start_number;
    config.identity.epoch = startup->state.epoch;
    config.identity.transaction_bytes_max = broker->transaction_bytes_max;
    status = startup->remains.is_usable
                 ? lanes_take_over(&config, &head, &startup->ahead, &broker->lanes)
                 : lanes_new(&config, &head, &broker->lanes);
    if (status != ES_OK) {
        snprintf(broker->why, sizeof broker->why,
                 "cannot make shared memory for %s: %s (%s): make room in /dev/shm, or give "
                 "smaller --slots",
                 broker->options->run_path, es_status_text(status), strerror(errno));
    }
    return status;
}

static enum es_status open_store(struct broker *broker)
{
    const struct options *options = broker->options;
    struct startup_options startup = {
        .data_path = options->data_path,
        .in_memory = options->in_memory,
        .durability = options->syncs_commits ? ANCHOR_FSYNC : ANCHOR_OS,
        .geometry = {.segment_count = LOG_SEGMENT_COUNT_DEFAULT,
                     .segment_bytes = options->segment_bytes},
        .look = look,
        .look_context = broker,
        .take_over = open_lanes,
        .take_over_context = broker,
    };
    enum es_status status =
        startup_open(&startup, &broker->counters, &broker->startup, broker->why);

    if (status == ES_OK) {
        log_info("the store holds positions 1 to %" PRIu64 " in %" PRIu64 " commits; %" PRIu64
                 " batches came from the log",
                 broker->startup.end.position, broker->startup.end.commit_number,
                 broker->startup.replayed_batches);
    }
    return status;
}

static enum es_status open_sockets(struct broker *broker)
{
    const struct startup *startup = &broker->startup;
    struct transport_config transport = {.requests_path = broker->run.requests_path,
                                         .events_path = broker->run.events_path,
                                         .group_given = broker->options->group_given,
                                         .group_id = broker->options->group};
    struct publisher_config publisher = {.counters = &broker->counters,
                                         .store_id = startup->state.store_id,
                                         .epoch = startup->state.epoch,
                                         .start_number = startup->state.start_number,
                                         .head_position = startup->end.position};
    enum es_status status = transport_new(&transport, broker->why, &broker->transport);

    if (status != ES_OK) {
        return status;
    }
    publisher.transport = broker->transport;
    memcpy(publisher.store_hash, startup->end.store_hash, sizeof publisher.store_hash);
    status = publisher_new(&publisher, &broker->publisher);
    if (status != ES_OK) {
        snprintf(broker->why, sizeof broker->why, "cannot start the publisher: %s",
                 es_status_text(status));
    }
    return status;
}

static void publish(void *context, const struct publication *publication)
{
    publisher_commit(context, publication);
}

/* The way of an event: inbox and lanes, drain, sequencer, committer. */
static enum es_status make_commit_path(struct broker *broker)
{
    struct startup *startup = &broker->startup;
    struct drain_config drain = {.lanes = broker->lanes,
                                 .counters = &broker->counters,
                                 .record_bytes_max = broker->geometry.record_bytes_max};
    struct flusher_config flusher = {startup->store, startup->log, &broker->counters, fail};
    struct witness_config witness = {.anchor = startup->anchor,
                                     .log = startup->log,
                                     .syncs_log = !broker->options->syncs_commits,
                                     .is_at_once = broker->options->syncs_anchor,
                                     .failed = fail};
    struct scribe_config scribe = {.log = startup->log,
                                   .counters = &broker->counters,
                                   .syncs_commits = broker->options->syncs_commits};
    struct committer_config committer = {.store = startup->store,
                                         .heads = startup->heads,
                                         .lanes = broker->lanes,
                                         .publish = publish,
                                         .publish_context = broker->publisher,
                                         .counters = &broker->counters,
                                         .epoch = startup->state.epoch};
    enum es_status status = commit_loop_new(&broker->loop);

    status = status != ES_OK ? status : inbox_new(commit_loop_wake, broker->loop, &broker->inbox);
    status = status != ES_OK ? status
                             : sequencer_new(startup->store, startup->heads, &broker->sequencer);
    drain.inbox = broker->inbox;
    drain.sequencer = broker->sequencer;
    drain.heads = broker->startup.heads;
    status = status != ES_OK ? status : drain_new(&drain, &broker->drain);
    status = status != ES_OK ? status : flusher_new(&flusher, &broker->flusher);
    scribe.flusher = broker->flusher;
    status = status != ES_OK ? status : scribe_new(&scribe, &broker->scribe);
    status = status != ES_OK ? status : witness_new(&witness, &startup->state, &broker->witness);
    committer.inbox = broker->inbox;
    committer.flusher = broker->flusher;
    committer.scribe = broker->scribe;
    committer.witness = broker->witness;
    status =
        status != ES_OK ? status : committer_new(&committer, &startup->end, &broker->committer);
    if (status != ES_OK) {
        snprintf(broker->why, sizeof broker->why, "cannot make the commit path: %s",
                 es_status_text(status));
    }
    return status;
}

static enum es_status make_questions(struct broker *broker)
{
    const struct startup *startup = &broker->startup;
    struct requests_config requests = {.transport = broker->transport,
                                       .store = startup->store,
                                       .inbox = broker->inbox,
                                       .counters = &broker->counters,
                                       .request_counters = &broker->request_counters,
                                       .epoch = startup->state.epoch,
                                       .start_number = startup->state.start_number,
                                       .durability = broker->options->syncs_commits ? 0 : 1,
                                       .transaction_bytes_max = broker->transaction_bytes_max,
                                       .status = broker_status_pack,
                                       .status_context = &broker->status};
    struct backup_config backup = {.directory = &startup->directory,
                                   .store = startup->store,
                                   .log = startup->log,
                                   .flusher = broker->flusher,
                                   .inbox = broker->inbox,
                                   .committer = broker->committer,
                                   .reserve_bytes = broker->options->reserve_bytes,
                                   .state = startup->state};
    enum es_status status = ES_OK;

    memcpy(requests.store_id, startup->state.store_id, sizeof requests.store_id);
    if (!broker->options->in_memory && backup_new(&backup, &broker->backup) != ES_OK) {
        snprintf(broker->why, sizeof broker->why, "not enough memory");
        return ES_E_NO_MEMORY;
    }
    requests.backup = broker->backup;
    broker->status = (struct broker_status){.inbox = broker->inbox,
                                            .lanes = broker->lanes,
                                            .store = startup->store,
                                            .committer = broker->committer,
                                            .syncs_commits = broker->options->syncs_commits,
                                            .in_memory = broker->options->in_memory};
    status = requests_new(&requests, &broker->requests);
    if (status != ES_OK) {
        snprintf(broker->why, sizeof broker->why, "cannot start the request workers: %s",
                 es_status_text(status));
    }
    return status;
}

static enum es_status make_control(struct broker *broker)
{
    struct control_config config = {.socket_path = broker->run.control_path,
                                    .group_given = broker->options->group_given,
                                    .group = broker->options->group,
                                    .inbox = broker->inbox,
                                    .lanes = broker->lanes};

    return control_new(&config, broker->why, &broker->control);
}

static void *run_commit_thread(void *context)
{
    struct broker *broker = context;
    struct commit_loop_config config = {.drain = broker->drain,
                                        .committer = broker->committer,
                                        .sequencer = broker->sequencer,
                                        .lanes = broker->lanes,
                                        .batches = {broker->batches[0], broker->batches[1]},
                                        .scribe = broker->scribe,
                                        .counters = &broker->counters,
                                        .disk = broker->startup.directory.disk,
                                        .reserve_bytes = broker->options->reserve_bytes,
                                        .failed = fail};

    pthread_setname_np(pthread_self(), "es-commit");
    commit_loop_run(broker->loop, &config);
    return NULL;
}

static enum es_status assemble(struct broker *broker)
{
    enum es_status status = run_directory_open(broker->options, &broker->run, broker->why);

    status = status != ES_OK ? status : open_store(broker);
    status = status != ES_OK ? status : open_sockets(broker);
    ES_PROBE(start_sockets_open);
    status = status != ES_OK ? status : make_commit_path(broker);
    status = status != ES_OK ? status : make_control(broker);
    ES_PROBE(start_control_open);
    return status;
}

/* Everything that was accepted is committed; then the store is made whole, so
 * that the next start has nothing to replay. */
static enum es_status end_cleanly(struct broker *broker)
{
    const struct history_point *end = NULL;
    struct log_point point;
    enum es_status status = ES_OK;

    commit_loop_stop(broker->loop);
    pthread_join(broker->commit_thread, NULL);
    ES_PROBE(stop_committed);
    transport_stop(broker->transport);
    inbox_close(broker->inbox);
    if (broker->requests != NULL) { /* where they could not be made, this is why it ends */
        requests_stop(broker->requests);
    }
    publisher_stop(broker->publisher);
    flusher_wait(broker->flusher);
    ES_PROBE(stop_published);
    end = committer_end(broker->committer);
    point.batch_number = end->batch_number;
    memcpy(point.store_hash, end->store_hash, sizeof point.store_hash);
    status = log_sync(broker->startup.log);
    if (status == ES_OK) {
        status = store_flush_all(broker->startup.store);
        ES_PROBE(stop_store_flushed);
    }
    if (status == ES_OK) {
        status = log_mark_flushed(broker->startup.log, &point);
        ES_PROBE(stop_log_marked);
    }
    if (status == ES_OK) {
        witness_note(broker->witness, end->batch_number, end->commit_number, end->position,
                     end->store_hash);
        status = witness_stop_clean(broker->witness);
        ES_PROBE(stop_anchor_clean);
    }
    if (status != ES_OK) {
        stop_at_once("a clean end", es_status_text(status));
    }
    lanes_set_state(broker->lanes, ES_BROKER_STOPPED);
    ES_PROBE(stop_page_stopped);
    lanes_remove_if_unused(broker->lanes);
    ES_PROBE(stop_memory_removed);
    return status;
}

static void take_apart(struct broker *broker)
{
    control_free(broker->control);
    requests_free(broker->requests);
    backup_free(broker->backup);
    committer_free(broker->committer);
    witness_free(broker->witness);
    scribe_free(broker->scribe);
    flusher_free(broker->flusher);
    drain_free(broker->drain);
    sequencer_free(broker->sequencer);
    inbox_free(broker->inbox);
    commit_loop_free(broker->loop);
    publisher_free(broker->publisher);
    transport_free(broker->transport);
    lanes_free(broker->lanes);
    for (int i = 0; i < COMMIT_LOOP_BATCHES; i++) {
        batch_free(broker->batches[i]);
    }
    startup_close(&broker->startup);
    run_directory_close(&broker->run);
}

static void announce(const struct broker *broker)
{
    printf("ready run=%s data=%s position=%" PRIu64 " durability=%s\n", broker->options->run_path,
           broker->options->data_path, broker->startup.end.position,
           broker->options->syncs_commits ? "fsync" : "os");
    fflush(stdout);
    sd_notify(0, "READY=1");
}

static enum es_status serve(struct broker *broker)
{
    enum es_status status = ES_OK;

    if (pthread_create(&broker->commit_thread, NULL, run_commit_thread, broker) != 0) {
        snprintf(broker->why, sizeof broker->why, "cannot start the commit thread");
        return ES_E_NO_MEMORY;
    }
    status = make_questions(broker);
    if (status == ES_OK) {
        announce(broker);
        ES_PROBE(start_announced);
        control_run(broker->control);
        sd_notify(0, "STOPPING=1");
    }
    if (status != ES_OK) {
        log_error("%s", broker->why);
    }
    end_cleanly(broker);
    return status;
}

/* Lanes, their owners and connections, and RocksDB's files: more than the 1,024
 * that a shell gives by default. Whoever may have more takes it. */
static enum es_status allow_descriptors(struct broker *broker)
{
    struct rlimit limit = {0};

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
            log_warning("cannot raise the limit of open files: %s", strerror(errno));
        }
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < DESCRIPTORS_MIN) {
        snprintf(broker->why, sizeof broker->why,
                 "only %llu files may be open, %u are needed: raise `ulimit -n` or LimitNOFILE=",
                 (unsigned long long)limit.rlim_cur, DESCRIPTORS_MIN);
        return ES_E_LIMIT;
    }
    return ES_OK;
}

static void block_signals(void)
{
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
}

int broker_run(const struct options *options)
{
    struct broker *broker = calloc(1, sizeof *broker);
    enum es_status status = ES_OK;

    if (broker == NULL) {
        fprintf(stderr, "esbroker: not enough memory: free some, and try again\n");
        return EX_TEMPFAIL;
    }
    broker->options = options;
    broker->geometry = options->geometry;
    broker->run.fd = broker->run.lock_fd = broker->run.segments_fd = -1;
    broker->startup.directory.fd = broker->startup.directory.lock_fd = -1;
    logger_set_level(options->log_level);
    block_signals();
    last_words_install();
    es_hash_warm_up();
    if (es_fault_install() != ES_OK) {
        log_warning(
            "cannot watch for SIGBUS: a producer that truncates its memory ends this broker");
    }
    status = allow_descriptors(broker);
    status = status != ES_OK ? status : assemble(broker);
    if (status != ES_OK) {
        fprintf(stderr, "esbroker: %s\n", broker->why);
    } else {
        status = serve(broker);
    }
    take_apart(broker);
    free(broker);
    return exit_code_of(status);
}
