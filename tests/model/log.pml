/*
 * The segments of the commit log in small: write apart from sync, the store's flush beside
 * them on a thread of its own, files used over and over. The process dies at any step (what
 * was written stays, unsynced), or the machine does (each unsynced record survives or not, by
 * itself); then the next start reads, settles, flushes and goes on. What the batches say and
 * who is told is commit.pml.
 *
 * A header is written twice, each copy synced before the next step, so here it is one step:
 * log_header_write() and its two slots are tested byte by byte in unit.broker.log_*.
 *
 * Properties, all in recover()
 *   the history that is found reaches every batch that was called durable
 *   ... and everything that the store has in its synced files (it never holds more)
 *   ... and is made of the very records that were written as those batches
 *   a flushed mark never runs ahead of the store
 *   no wedge: a full log waits for the flusher and goes on (invalid end states)
 *
 * -DMUTANT_...: REUSE_TOO_EARLY, MARK_BEFORE_FLUSH, NO_SYNC_AT_ROTATION, APPLY_BEFORE_SYNC
 * (with the cut taken behind it), NO_SETTLE, REUSED_SEGMENT_NUMBER.
 */
#ifndef FILES
#define FILES 3 /* LOG_SEGMENT_COUNT_MIN */
#endif
#ifndef RECORDS
#define RECORDS 2 /* that fit into a segment */
#endif
#ifndef BATCHES
#define BATCHES 6
#endif
#ifndef DEATHS
#define DEATHS 1
#endif

#define AT(file, index) ((file) * RECORDS + (index))
#define NONE 255

/* The files: headers (always synced) and records. */
byte segment[FILES]; /* its number, 0: never used */
byte first[FILES];   /* batch that the segment begins with */
byte flushed_mark[FILES];
byte record_batch[FILES * RECORDS];
byte record_segment[FILES * RECORDS];
bool record_synced[FILES * RECORDS];

/* RocksDB: what its synced files hold. */
byte store_flushed;

/* Ghosts: what was told to somebody, and in which segment the true batch lies. */
byte told_durable;
byte true_segment[BATCHES + 2];

/* The process: scribe, committer and flusher. */
byte newest;       /* file */
byte segment_max;
byte offset;       /* records in the newest file */
byte last_batch;
byte durable_batch;
byte marked;       /* log->flushed */
byte outcome;      /* last batch that the scribe is done with */
byte finished;     /* last batch applied */
bool segment_begun[BATCHES + 2];
byte cut = NONE;   /* what the flusher is to flush */
bool is_dead;
bool flusher_is_down;
bool committer_is_down;
byte deaths;

/* next_file(): one never used, else that of the oldest segment */
inline choose_next_file()
{
    next = NONE;
    i = 0;
    do
    :: i < FILES && segment[i] == 0 -> next = i; break
    :: i < FILES && segment[i] != 0 && i != newest &&
       (next == NONE || segment[i] < segment[next]) -> next = i; i++
    :: i < FILES && segment[i] != 0 &&
       (i == newest || (next != NONE && segment[i] >= segment[next])) -> i++
    :: i == FILES -> break
    od;
    i = 0
}

/* last_batch_of(): of the segment in 'next', from the header of the segment after it */
inline find_last_batch()
{
    last = 0;
    following = NONE;
    i = 0;
    do
    :: i < FILES && segment[next] != 0 && segment[i] > segment[next] && segment[i] < following ->
        following = segment[i];
        last = first[i] - 1;
        i++
    :: i < FILES && !(segment[next] != 0 && segment[i] > segment[next] && segment[i] < following) ->
        i++
    :: i == FILES -> break
    od;
    following = 0;
    i = 0
}

/* sync_newest() */
inline sync_newest()
{
    i = 0;
    do
    :: i < RECORDS -> record_synced[AT(newest, i)] = true; i++
    :: i == RECORDS -> break
    od;
    i = 0;
    durable_batch = last_batch
}

/* begin_segment(): both header slots */
inline begin_segment(file, batch)
{
    segment_max++;
#ifdef MUTANT_REUSED_SEGMENT_NUMBER
    segment_max = (segment_max > 3 -> segment_max - 1 : segment_max);
#endif
    segment[file] = segment_max;
    first[file] = batch;
    flushed_mark[file] = marked;
    newest = file;
    offset = 0
}

/* ---- recovery -------------------------------------------------------------------- */

/* file_holding() or file_after(): the last segment that begins at or before 'batch' */
inline find_file_holding(batch)
{
    next = NONE;
    i = 0;
    do
    :: i < FILES && segment[i] != 0 && first[i] <= batch &&
       (next == NONE || segment[i] > segment[next]) -> next = i; i++
    :: i < FILES && !(segment[i] != 0 && first[i] <= batch &&
       (next == NONE || segment[i] > segment[next])) -> i++
    :: i == FILES -> break
    od;
    i = 0
}

/* log_open(), log_replay(): where the history ends, read from the files alone */
inline replay()
{
    i = 0;
    newest = 0;
    segment_max = 0;
    do
    :: i < FILES && segment[i] > segment_max -> segment_max = segment[i]; newest = i; i++
    :: i < FILES && segment[i] <= segment_max -> i++
    :: i == FILES -> break
    od;
    marked = flushed_mark[newest];
    assert(store_flushed >= marked); /* else startup_find_flushed() refuses */
    last_batch = marked;
    do
    :: true ->
        find_file_holding(last_batch + 1);
        assert(next != NONE); /* "the first segment that is left" */
        i = 0;
        do
        :: i < RECORDS && record_segment[AT(next, i)] == segment[next] &&
           record_batch[AT(next, i)] == last_batch + 1 -> break
        :: i < RECORDS && !(record_segment[AT(next, i)] == segment[next] &&
           record_batch[AT(next, i)] == last_batch + 1) -> i++
        :: i == RECORDS -> break
        od;
        if
        :: i == RECORDS -> break
        :: i < RECORDS ->
            last_batch++;
            assert(last_batch > told_durable || true_segment[last_batch] == segment[next])
        fi
    od;
    i = 0;
    assert(last_batch >= told_durable);  /* nothing acknowledged is lost */
    assert(last_batch >= store_flushed); /* RocksDB never holds what the log has lost */
    assert(last_batch >= first[newest] - 1); /* the header of a later segment vouches */
    finished = last_batch;
    outcome = last_batch
}

/* startup.c: open_for_writing(), begin() */
inline recover()
{
    atomic {
        replay()
    };
#ifndef MUTANT_NO_SETTLE
    atomic { /* settle_tail(): written again and synced */
        sync_newest()
    };
#endif
    store_flushed = finished; /* store_flush_all() */
    atomic {                 /* log_begin(): the mark ... */
        durable_batch = last_batch;
        marked = last_batch;
        flushed_mark[newest] = marked
    };
    atomic { /* ... and the segment */
        choose_next_file();
        begin_segment(next, last_batch + 1);
        next = 0
    }
}

/* ---- the threads ----------------------------------------------------------------- */

/* scribe_write(): log_append(), log_sync() */
inline write_batch()
{
    begun = false;
    if
    :: offset > 0 -> /* rotate(): full, or too full for this body */
        atomic {
            choose_next_file();
            find_last_batch()
        };
#ifndef MUTANT_REUSE_TOO_EARLY
        last <= marked; /* else ES_FULL: flusher_wait() */
#endif
#ifndef MUTANT_NO_SYNC_AT_ROTATION
        atomic {
            sync_newest()
        };
#endif
        atomic {
            begin_segment(next, last_batch + 1);
            begun = true;
            next = 0;
            last = 0
        }
    :: offset < RECORDS
    fi;
    atomic { /* write_record() */
        last_batch++;
        record_batch[AT(newest, offset)] = last_batch;
        record_segment[AT(newest, offset)] = segment_max;
        record_synced[AT(newest, offset)] = false;
        true_segment[last_batch] = segment_max;
        segment_begun[last_batch] = begun;
        begun = false;
        offset++
    };
#ifdef MUTANT_APPLY_BEFORE_SYNC
    if
    :: segment_begun[last_batch] -> cut == NONE; cut = last_batch
    :: else
    fi;
#endif
    if
    :: atomic { sync_newest() } /* durability fsync, or os in its second */
    :: true                     /* durability os, or refusals alone */
    fi;
    outcome = last_batch
}

/* committer_finish(): cut_store(), then apply() */
inline finish_batch()
{
#ifndef MUTANT_APPLY_BEFORE_SYNC
    if
    :: segment_begun[finished + 1] -> cut == NONE; cut = finished /* flusher_begin() waits */
    :: else
    fi;
#endif
    atomic {
        finished++;
        told_durable =
            (finished <= durable_batch && finished > told_durable -> finished : told_durable)
    }
}

active proctype Scribe()
{
    byte next;
    byte last;
    byte following;
    byte i;
    bool begun;

    atomic { /* log_create() */
        segment[0] = 1;
        first[0] = 1
    };
start:
    {
        recover();
end_done:
        do
        :: last_batch < BATCHES && last_batch <= finished + 1 -> write_batch()
        od
    } unless {
        is_dead
    };
    flusher_is_down && committer_is_down;
    atomic {
        next = 0;
        last = 0;
        following = 0;
        i = 0;
        begun = false;
        offset = 0;
        durable_batch = 0;
        marked = 0;
        cut = NONE;
        is_dead = false;
        outcome = 0;
        finished = 0;
        flusher_is_down = false;
        committer_is_down = false
    };
    goto start
}

/* flusher.c: store_flush_wait(), then log_mark_flushed() */
active proctype Flusher()
{
end_up:
    {
end_idle:
        do
        :: cut != NONE ->
#ifdef MUTANT_MARK_BEFORE_FLUSH
            atomic {
                marked = (cut > marked -> cut : marked);
                flushed_mark[newest] = marked
            };
            store_flushed = cut;
#else
            store_flushed = cut;
            atomic {
                assert(cut <= durable_batch); /* else ES_E_INVALID, and the broker stops */
                marked = (cut > marked -> cut : marked);
                flushed_mark[newest] = marked
            };
#endif
            cut = NONE
        od
    } unless {
        is_dead
    };
    flusher_is_down = true;
    !flusher_is_down;
    goto end_up
}

/* The commit thread finishes a batch while the scribe writes the next one. */
active proctype Committer()
{
end_up:
    {
end_idle:
        do
        :: outcome > finished -> finish_batch()
        od
    } unless {
        is_dead
    };
    committer_is_down = true;
    !committer_is_down;
    goto end_up
}

/* kill -9, or the power: then each unsynced record goes or stays */
active proctype Death()
{
    byte k;

    do
    :: atomic { deaths < DEATHS && !is_dead ->
            deaths++;
            if
            :: true
            :: true ->
                do
                :: k < FILES * RECORDS && !record_synced[k] && record_batch[k] != 0 ->
                    if
                    :: record_batch[k] = 0; record_segment[k] = 0
                    :: true
                    fi;
                    record_synced[k] = true;
                    k++
                :: k < FILES * RECORDS && (record_synced[k] || record_batch[k] == 0) -> k++
                :: k == FILES * RECORDS -> break
                od;
                k = 0
            fi;
            is_dead = true }
    :: break
    od
}
