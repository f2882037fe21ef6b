/*
 * The order of a commit and what a restart makes of its remains: producers publish and
 * collect; the committer seals, finishes and takes over; the scribe writes and syncs beside
 * it, one batch ahead. The broker's process dies at any step; the machine may go down at any
 * step. How records are found is ring.pml, how the log's files hold them is log.pml.
 *
 * A statement is one access to what survives the process: shared memory, the control page,
 * the log, the store. Each record is accepted or refused by a free choice, made anew each
 * time that it is judged, for what it expects may hold now and not then.
 *
 * Properties
 *   an OK that a producer sees is in the synced log, applied before         Producer, finish()
 *   nothing is stored twice, nothing that was answered "refused" is stored  scribe_write()
 *   a start finds what the log holds, never refuses itself                  take_over()
 *   a power cut takes nothing that a reader has seen or the store has flushed   PowerCut
 *   no wedge: each producer gets all its answers (invalid end states; no cycles by pan -l)
 *
 * -DMUTANT_...: ACK_BEFORE_COMMIT, NO_REACK, PAGE_BEFORE_WRITE, REJECTION_NOT_DURABLE,
 * APPLY_BEFORE_SYNC, STAGE_AFTER_ACK, LAST_IGNORED, FLUSH_BEFORE_SETTLE.
 */
#ifndef RECORDS
#define RECORDS 2 /* of the first producer, and at most of the other */
#endif
#ifndef RECORDS_OF_OTHER
#define RECORDS_OF_OTHER 1
#endif
#ifndef CREDITS
#define CREDITS 2
#endif
#ifndef KILLS
#define KILLS 2
#endif
#define PRODUCERS 2
#define BATCHES (PRODUCERS * RECORDS)

#define OK 1
#define REFUSED 2

#define RECORD(lane, sequence) ((lane) * RECORDS + (sequence) - 1)
#define PLACE(lane, sequence) ((lane) * CREDITS + ((sequence) - 1) % CREDITS)
#define AT(batch, lane) ((batch) * PRODUCERS + (lane))

/* The lanes: outlive the broker's process, not the machine. */
byte published[PRODUCERS];
byte acked[PRODUCERS];
byte result_tag[PRODUCERS * CREDITS];
byte result[PRODUCERS * CREDITS];

/* The control page: likewise. */
byte page_head;
byte page_last[PRODUCERS];

/* The log. A batch's body is also what the process holds of it before it is written. */
byte written;
byte synced;
byte first_of[(BATCHES + 1) * PRODUCERS]; /* the lane's records above this ... */
byte last_of[(BATCHES + 1) * PRODUCERS];  /* ... and up to this (`Last`) are in the batch */
bool has_events[BATCHES + 1];
byte verdict[PRODUCERS * RECORDS];

/* The store: what a read sees, and what is in its synced files. */
byte applied;
byte flushed;

/* What the outside world knows. */
byte got[PRODUCERS * RECORDS];
byte stored_count[PRODUCERS * RECORDS];

/* The broker's process: both threads die together. */
bool killed;
bool scribe_is_down;
bool is_serving; /* requests are answered from the store */
#define IDLE 0
#define BEGUN 1
#define DONE 2
byte turn;
byte writing; /* the batch that the scribe has */
bool segment_begun;

/* ---- producers ------------------------------------------------------------------- */

proctype Producer(byte me; byte record_count)
{
    byte sent;
    byte collected;

    do
    :: atomic { sent < record_count && sent - collected < CREDITS -> /* es_lane_publish() */
            sent++;
            published[me] = sent }
    :: atomic { acked[me] > collected -> /* es_lane_collect() */
            collected++;
            assert(result_tag[PLACE(me, collected)] == collected);
            got[RECORD(me, collected)] = result[PLACE(me, collected)];
            assert(got[RECORD(me, collected)] != OK ||
                   (verdict[RECORD(me, collected)] == OK &&
                    collected <= last_of[AT(synced, me)])) }
    :: atomic { collected == record_count -> break }
    od
}

/* ---- the scribe ------------------------------------------------------------------ */

/* Ghost: the batch is history from here on. */
inline note_history()
{
    lane = 0;
    do
    :: lane < PRODUCERS ->
        sequence = first_of[AT(writing, lane)] + 1;
        do
        :: sequence <= last_of[AT(writing, lane)] && verdict[RECORD(lane, sequence)] == OK ->
            stored_count[RECORD(lane, sequence)]++;
            assert(stored_count[RECORD(lane, sequence)] == 1);
            assert(got[RECORD(lane, sequence)] != REFUSED);
            sequence++
        :: sequence <= last_of[AT(writing, lane)] && verdict[RECORD(lane, sequence)] != OK ->
            sequence++
        :: else -> break
        od;
        lane++
    :: else -> break
    od;
    lane = 0;
    sequence = 0
}

active proctype Scribe()
{
    byte lane;
    byte sequence;

end_up:
    {
end_idle:
        do
        :: turn == BEGUN -> /* scribe_write(): log_append(), then log_sync() */
            if /* rotate(): the old segment is synced before the new one begins */
            :: true -> atomic { synced = written; segment_begun = true }
            :: true
            fi;
            atomic {
                written = writing;
                note_history()
            };
#ifdef MUTANT_APPLY_BEFORE_SYNC
            applied = writing;
#endif
            if /* sync_log(): refusals alone need no sync */
            :: has_events[writing] -> synced = written
            :: else -> skip
            fi;
            turn = DONE
        od
    } unless {
        killed
    };
    scribe_is_down = true;
    !scribe_is_down;
    goto end_up
}

/* ---- the committer --------------------------------------------------------------- */

/* lanes_advance(): the lanes touched, then the head */
inline write_control_page(batch)
{
    do
    :: atomic { lane < PRODUCERS ->
            if
            :: last_of[AT(batch, lane)] != first_of[AT(batch, lane)] ->
                page_last[lane] = last_of[AT(batch, lane)]
            :: else -> skip
            fi;
            lane++ }
    :: atomic { lane == PRODUCERS -> lane = 0; break }
    od;
    page_head = batch
}

/* lanes_acknowledge() */
inline acknowledge(batch)
{
    do
    :: atomic { lane < PRODUCERS ->
            if
            :: last_of[AT(batch, lane)] != first_of[AT(batch, lane)] ->
                acked[lane] = last_of[AT(batch, lane)]
            :: else -> skip
            fi;
            lane++ }
    :: atomic { lane == PRODUCERS -> lane = 0; break }
    od
}

/* committer_seal(): stage_results(); nobody looks at them before the ack */
inline stage(batch)
{
    do
    :: atomic { lane < PRODUCERS ->
            sequence = first_of[AT(batch, lane)] + 1;
            do
            :: sequence <= last_of[AT(batch, lane)] ->
                result_tag[PLACE(lane, sequence)] = sequence;
                result[PLACE(lane, sequence)] = verdict[RECORD(lane, sequence)];
                sequence++
            :: else -> sequence = 0; break
            od;
            lane++ }
    :: atomic { lane == PRODUCERS -> lane = 0; break }
    od
}

/* drain_fill() and sequencer_add(): the next record of a lane joins the open batch */
inline take_record(which)
{
    consumed[which]++;
    last_of[AT(sealed + 1, which)] = consumed[which];
    has_open = true;
    if
    :: verdict[RECORD(which, consumed[which])] = OK; has_events[sealed + 1] = true
    :: verdict[RECORD(which, consumed[which])] = REFUSED
    fi
}

/* committer_begin_batch() */
inline begin_batch()
{
    lane = 0;
    do
    :: lane < PRODUCERS && sealed < BATCHES ->
        first_of[AT(sealed + 1, lane)] = consumed[lane];
        last_of[AT(sealed + 1, lane)] = consumed[lane];
        lane++
    :: else -> break
    od;
    lane = 0;
    has_open = false;
    if
    :: sealed < BATCHES -> has_events[sealed + 1] = false
    :: else -> skip
    fi
}

/* committer_seal(), scribe_begin() */
inline hand_over()
{
#ifndef MUTANT_STAGE_AFTER_ACK
    stage(sealed + 1);
#endif
#ifdef MUTANT_PAGE_BEFORE_WRITE
    write_control_page(sealed + 1);
#endif
#ifdef MUTANT_ACK_BEFORE_COMMIT
    acknowledge(sealed + 1);
#endif
    atomic {
        sealed++;
        writing = sealed;
        segment_begun = false;
        turn = BEGUN;
        begin_batch()
    }
}

/* committer_finish() */
inline finish()
{
    if /* cut_store(): what the segments before this batch hold, all of it synced */
    :: begun -> flushed = finished
    :: else -> skip
    fi;
    atomic {
        finished++;
        applied = finished;
        begun = false
    };
#ifndef MUTANT_PAGE_BEFORE_WRITE
    write_control_page(finished);
#endif
#ifndef MUTANT_ACK_BEFORE_COMMIT
    assert(applied == finished);
    acknowledge(finished);
#endif
#ifdef MUTANT_STAGE_AFTER_ACK
    stage(finished);
#endif
}

/* startup_replay.c: startup_replay(); startup.c: begin() -> lanes_take_over() */
inline take_over()
{
    atomic {
        assert(page_head <= written); /* else: a shorter history, ES_E_CORRUPT */
        applied = written
    };
#ifndef MUTANT_FLUSH_BEFORE_SETTLE
    synced = written; /* settle_tail() */
#endif
    flushed = applied; /* store_flush_all() */
    atomic {
        synced = written;
        sealed = written;
        finished = written
    };
    do
    :: atomic { lane < PRODUCERS -> /* take_over_lane(): the page, or `Last` of what it missed */
            consumed[lane] = page_last[lane];
#ifndef MUTANT_LAST_IGNORED
            sequence = page_head + 1;
            do
            :: sequence <= written ->
                if
                :: last_of[AT(sequence, lane)] != first_of[AT(sequence, lane)] ->
                    consumed[lane] = last_of[AT(sequence, lane)]
                :: else -> skip
                fi;
                sequence++
            :: else -> sequence = 0; break
            od;
            assert(consumed[lane] == last_of[AT(written, lane)]) /* neither lost nor again */
#endif
            };
#ifndef MUTANT_NO_REACK
        acked[lane] = consumed[lane]; /* es_lane_reader_attach() */
#endif
        atomic {
            page_last[lane] = consumed[lane]; /* es_control_advance_lane() */
            lane++
        }
    :: atomic { lane == PRODUCERS -> lane = 0; break }
    od;
    atomic {
        page_head = written; /* es_control_set_head() */
        is_serving = true;
        turn = IDLE;
        begin_batch()
    }
}

proctype Committer()
{
    byte sealed;
    byte finished;
    byte consumed[PRODUCERS];
    bool has_open;
    bool begun;
    byte lane;
    byte sequence;

start:
    {
        take_over();
end_idle:
        do
        :: atomic { published[0] > consumed[0] -> take_record(0) }
        :: atomic { published[1] > consumed[1] -> take_record(1) }
        :: has_open && turn == IDLE -> /* commit_first() */
            hand_over()
#ifdef MUTANT_REJECTION_NOT_DURABLE
        :: has_open && turn == IDLE && !has_events[sealed + 1] ->
            stage(sealed + 1);
            acknowledge(sealed + 1);
            begin_batch()
#endif
        :: atomic { turn == DONE -> /* commit_next(): finishes while the next is written */
                turn = IDLE;
                begun = segment_begun };
            if
            :: has_open -> hand_over()
            :: true
            fi;
            finish()
        od
    } unless {
        killed
    };
    scribe_is_down;
    atomic {
        applied = flushed; /* what was in the process's memory is gone */
        is_serving = false;
        turn = IDLE;
        writing = 0;
        segment_begun = false;
        sealed = 0;
        finished = 0;
        consumed[0] = 0;
        consumed[1] = 0;
        has_open = false;
        begun = false;
        lane = 0;
        sequence = 0;
        killed = false;
        scribe_is_down = false
    };
    goto start
}

/* ---- death, and the end ---------------------------------------------------------- */

/* The machine may go down in any state: so this must hold in every state. */
#define READERS_ARE_SAFE (!is_serving || applied <= synced || !has_events[applied])
#define STORE_IS_SAFE (flushed <= synced)

active proctype PowerCut()
{
end_watching:
    atomic {
        !READERS_ARE_SAFE || !STORE_IS_SAFE;
        assert(READERS_ARE_SAFE);
        assert(STORE_IS_SAFE)
    }
}

active proctype Death()
{
    byte kills;

    atomic {
        run Committer();
        run Producer(0, RECORDS);
        run Producer(1, RECORDS_OF_OTHER)
    };
    do
    :: atomic { kills < KILLS && !killed -> kills++; killed = true }
    :: break
    od;
    timeout; /* nothing can move any more */
    assert(acked[0] == RECORDS && acked[1] == RECORDS_OF_OTHER)
}
