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

#include "broker/broker_parts.h"
#include "broker/last_words.h"
#include "broker/limits.h"
#include "broker/slice.h"
#include "shm/codec/hash.h"
#include "shm/fault.h"
#include "shm/probe.h"

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

static void *run_commit_thread(void *context)
{
    struct broker_parts *parts = context;
    struct commit_loop_config config = {.drain = parts->drain,
                                        .committer = parts->committer,
                                        .sequencer = parts->sequencer,
                                        .lanes = parts->lanes,
                                        .batches = {parts->batches[0], parts->batches[1]},
                                        .scribe = parts->scribe,
                                        .counters = &parts->counters,
                                        .disk = parts->startup.directory.disk,
                                        .reserve_bytes = parts->options->reserve_bytes,
                                        .failed = parts->failed};

    pthread_setname_np(pthread_self(), "es-commit");
    slice_shorten();
    commit_loop_run(parts->loop, &config);
    return NULL;
}

/* Everything that was accepted is committed; then the store is made whole, so
 * that the next start has nothing to replay. */
static enum es_status end_cleanly(struct broker_parts *parts, pthread_t commit_thread)
{
    const struct history_point *end = NULL;
    struct log_point point;
    enum es_status status = ES_OK;

    commit_loop_stop(parts->loop);
    pthread_join(commit_thread, NULL);
    ES_PROBE(stop_committed);
    transport_stop(parts->transport);
    inbox_close(parts->inbox);
    if (parts->requests != NULL) { /* where they could not be made, this is why it ends */
        requests_stop(parts->requests);
    }
    publisher_stop(parts->publisher);
    flusher_wait(parts->flusher);
    ES_PROBE(stop_published);
    end = committer_end(parts->committer);
    point.batch_number = end->batch_number;
    memcpy(point.store_hash, end->store_hash, sizeof point.store_hash);
    status = log_sync(parts->startup.log);
    if (status == ES_OK) {
        status = store_flush_all(parts->startup.store);
        ES_PROBE(stop_store_flushed);
    }
    if (status == ES_OK) {
        status = log_mark_flushed(parts->startup.log, &point);
        ES_PROBE(stop_log_marked);
    }
    if (status == ES_OK) {
        witness_note(parts->witness, end->batch_number, end->commit_number, end->position,
                     end->store_hash);
        status = witness_stop_clean(parts->witness);
        ES_PROBE(stop_anchor_clean);
    }
    if (status != ES_OK) {
        stop_at_once("a clean end", es_status_text(status));
    }
    lanes_set_state(parts->lanes, ES_BROKER_STOPPED);
    ES_PROBE(stop_page_stopped);
    lanes_remove_if_unused(parts->lanes);
    ES_PROBE(stop_memory_removed);
    return status;
}

static void announce(const struct broker_parts *parts)
{
    printf("ready run=%s data=%s position=%" PRIu64 " durability=%s\n", parts->options->run_path,
           parts->options->data_path, parts->startup.end.position,
           parts->options->syncs_commits ? "fsync" : "os");
    fflush(stdout);
    sd_notify(0, "READY=1");
}

static enum es_status serve(struct broker_parts *parts)
{
    pthread_t commit_thread;
    enum es_status status = ES_OK;

    if (pthread_create(&commit_thread, NULL, run_commit_thread, parts) != 0) {
        snprintf(parts->why, sizeof parts->why, "cannot start the commit thread");
        return ES_E_NO_MEMORY;
    }
    status = broker_parts_make_questions(parts);
    if (status == ES_OK) {
        announce(parts);
        ES_PROBE(start_announced);
        control_run(parts->control);
        sd_notify(0, "STOPPING=1");
    }
    if (status != ES_OK) {
        log_error("%s", parts->why);
    }
    end_cleanly(parts, commit_thread);
    return status;
}

/* Lanes, their owners and connections, and RocksDB's files: more than the 1,024
 * that a shell gives by default. Whoever may have more takes it. */
static enum es_status allow_descriptors(struct broker_parts *parts)
{
    struct rlimit limit = {0};

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
            log_warning("cannot raise the limit of open files: %s", strerror(errno));
        }
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < DESCRIPTORS_MIN) {
        snprintf(parts->why, sizeof parts->why,
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
    struct broker_parts *parts = malloc(sizeof *parts);
    enum es_status status = ES_OK;

    if (parts == NULL) {
        fprintf(stderr, "esbroker: not enough memory: free some, and try again\n");
        return EX_TEMPFAIL;
    }
    broker_parts_init(parts, options, fail);
    logger_set_level(options->log_level);
    block_signals();
    last_words_install();
    es_hash_warm_up();
    if (es_fault_install() != ES_OK) {
        log_warning(
            "cannot watch for SIGBUS: a producer that truncates its memory ends this broker");
    }
    status = allow_descriptors(parts);
    status = status != ES_OK ? status : broker_parts_make(parts);
    if (status != ES_OK) {
        fprintf(stderr, "esbroker: %s\n", parts->why);
    } else {
        status = serve(parts);
    }
    broker_parts_deinit(parts);
    free(parts);
    return exit_code_of(status);
}
