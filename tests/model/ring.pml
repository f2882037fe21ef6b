/*
 * The ring and the lanes: producers place tickets, die at any step and are replaced on
 * the same lane number; the broker takes, sweeps, logs, frees and acknowledges, dies at
 * any step and is started again over the same memory. Slots are lapped several times.
 * What is inside a commit (results, control page, refusals) is commit.pml; what the log's
 * files survive is log.pml. Checked by test_model.py with Spin (spinroot.com; Holzmann,
 * The Spin Model Checker, 2003).
 *
 * A statement is one access to shared memory, as it is in the C code that the comment
 * beside it names, so "killed between two statements" is "killed at any instruction that
 * others can see". Spin's memory is sequentially consistent: that acquire and release are
 * enough where the code has no more is argued in the headers, not here.
 *
 * Waiting stands for looking again: where the code would loop until a word changes, the
 * model blocks until it does. So the graph has no cycle (pan -l finds none), and a wedge
 * is a state in which nothing can move and somebody is not done: an invalid end state.
 *
 * Properties
 *   a record that is taken is whole and is its lane's next       drain_take_record()
 *   an answer that a producer sees is in the log                       Producer, collect
 *   no position is voided, no ring refused without a hostile party     Broker
 *   when nothing can move: all that was published is logged and acknowledged   Death
 *
 * -DMUTANT_...: HELP_ONLY_ON_FULL, FREE_BEFORE_COMMIT, ACK_BEFORE_COMMIT, NO_REACK, NO_SWEEP,
 * PUBLISH_BEFORE_WRITE. The tail has two belts: producers help it on FULL and on newer laps,
 * and the broker puts it right (tail_raise, tail_repair). Either alone is sound, which the two
 * -DVARIANT_... show; so HELP_ONLY_ON_FULL takes the broker's belt off as well.
 */
#ifndef PRODUCERS
#define PRODUCERS 2
#endif
#ifndef RECORDS
#define RECORDS 2 /* that each owner of a lane publishes */
#endif
#ifndef SLOTS
#define SLOTS 2
#endif
#ifndef CREDITS
#define CREDITS 1
#endif
#ifndef KILLS
#define KILLS 2
#endif

#ifdef MUTANT_HELP_ONLY_ON_FULL
#define HELPS_ONLY_ON_FULL
#define NO_RAISE
#endif
#ifdef VARIANT_HELP_ONLY_ON_FULL_WITH_RAISE
#define HELPS_ONLY_ON_FULL
#endif
#ifdef VARIANT_NO_RAISE_WITH_HELP
#define NO_RAISE
#endif

/* Slot words (ring.h): bits for lap, full, lane and sequence. */
#define EMPTY(lap) ((lap) * 64)
#define FULL(lap, lane, sequence) ((lap) * 64 + 32 + (lane) * 8 + (sequence))
#define LAP_OF_WORD(word) ((word) / 64)
#define IS_FULL(word) (((word) / 32) % 2 == 1)
#define LANE(word) (((word) / 8) % 4)
#define SEQUENCE(word) ((word) % 8)
#define LAP(position) ((position) / SLOTS)
#define AT(position) ((position) % SLOTS)
#define PLACE(lane, sequence) ((lane) * CREDITS + ((sequence) - 1) % CREDITS)

/* Shared memory. */
short slot[SLOTS];
byte tail;
byte arena[PRODUCERS * CREDITS]; /* which sequence's record lies there */
byte published[PRODUCERS];
byte acked[PRODUCERS];

/* What the log's newest batch says (`Last`): survives the broker. */
byte logged[PRODUCERS];
byte logged_cursor;

/* Who is to die, whose process is gone. */
bool killed[PRODUCERS];
bool owner_gone[PRODUCERS];
bool broker_killed;

inline cas(place, expected, desired, ret_done)
{
    d_step {
        if
        :: place == (expected) -> place = desired; ret_done = true
        :: else -> ret_done = false
        fi
    }
}

/* ---- producers ------------------------------------------------------------------- */

proctype Producer(byte me)
{
    byte sequence;
    byte position;
    short word;
    bool done;

born:
    atomic {
        sequence = 0;
        position = 0;
        word = 0;
        done = false
    };
    {
        do
        :: atomic { sequence < RECORDS && sequence - acked[me] < CREDITS -> /* es_lane_claim */
                assert(acked[me] <= logged[me]); /* collect: what is answered is in the log */
                sequence++ };
#ifdef MUTANT_PUBLISH_BEFORE_WRITE
            published[me] = sequence;
            arena[PLACE(me, sequence)] = sequence;
#else
            arena[PLACE(me, sequence)] = sequence; /* es_lane_publish: header_write */
            published[me] = sequence;              /* es_lane_publish: [L1] */
#endif
look_at_tail:
            position = tail; /* es_ring_step: ES_PLACE_TAIL */
look_at_slot:
            word = slot[AT(position)]; /* ES_PLACE_SLOT */
            if
            :: atomic { word == EMPTY(LAP(position)) -> /* ES_PLACE_CLAIM */
                    cas(slot[AT(position)], word, FULL(LAP(position), me, sequence), done);
                    if
                    :: done -> skip
                    :: else -> goto look_at_slot
                    fi }
#ifdef HELPS_ONLY_ON_FULL
            :: atomic { LAP_OF_WORD(word) > LAP(position) && !IS_FULL(word) ->
                    tail != position || slot[AT(position)] != word;
                    goto look_at_tail }
            :: word != EMPTY(LAP(position)) && LAP_OF_WORD(word) >= LAP(position) && IS_FULL(word)
#else
            :: word != EMPTY(LAP(position)) && LAP_OF_WORD(word) >= LAP(position)
#endif
            :: atomic { LAP_OF_WORD(word) < LAP(position) ->
                    if /* es_ring_place: looks again up to a bound, then leaves it to the sweep */
                    :: tail != position || slot[AT(position)] != word -> goto look_at_tail
                    :: goto not_placed
                    fi }
            fi;
            atomic { /* ES_PLACE_MOVE: help, or end; failing is fine */
                cas(tail, position, position + 1, word);
                if
                :: done -> skip
                :: else -> goto look_at_tail
                fi;
not_placed:
                done = false;
                position = 0;
                word = 0
            }
        :: sequence == RECORDS && acked[me] == RECORDS -> /* es_lane_wait */
            assert(acked[me] <= logged[me]);
            break
        od
    } unless {
        killed[me]
    };
    if
    :: killed[me] ->
        atomic {
            killed[me] = false;
            owner_gone[me] = true; /* the control thread sees its pidfd */
            sequence = 0;
            position = 0;
            word = 0;
            done = false
        };
        !owner_gone[me]; /* lanes_tidy() takes the lane back: another owner, same number */
        goto born
    :: else -> skip
    fi
}

/* ---- the broker ------------------------------------------------------------------ */

/* es_lane_next() */
inline take_record(lane)
{
    assert(arena[PLACE(lane, consumed[lane] + 1)] == consumed[lane] + 1);
    consumed[lane]++
}

/* es_ring_free(), and the repair in es_ring_reader_attach(): tail_raise() */
inline raise_tail(to)
{
#ifndef NO_RAISE
    seen = tail;
    do
    :: atomic { seen < to -> cas(tail, seen, to, done); seen = (done -> to : tail) }
    :: atomic { seen >= to -> seen = 0; done = false; break }
    od
#else
    skip
#endif
}

/* lanes_free_slots() -> es_ring_free() */
inline free_slots()
{
    raise_tail(cursor);
    do
    :: atomic { freed < cursor -> /* [R2] */
            slot[AT(freed)] = EMPTY(LAP(freed) + 1);
            freed++ }
    :: freed == cursor -> break
    od
}

/* lanes_acknowledge() -> es_lane_ack() */
inline acknowledge()
{
    do
    :: atomic { i < PRODUCERS -> acked[i] = consumed[i]; i++ }
    :: atomic { i == PRODUCERS -> i = 0; break }
    od
}

/* scribe_write(): the batch is in the log, with how far it came */
inline write_log()
{
    atomic {
        i = 0;
        do
        :: i < PRODUCERS -> logged[i] = consumed[i]; i++
        :: else -> i = 0; break
        od;
        logged_cursor = cursor
    }
}

/* lanes_take_over(): es_ring_reader_attach(), es_lane_reader_attach() */
inline take_over()
{
    do
    :: atomic { i < SLOTS -> /* ES_REGRESSED would give up the ring and all its lanes */
            assert(LAP_OF_WORD(slot[AT(cursor + i)]) <= LAP(cursor + i));
            i++ }
    :: atomic { i == SLOTS -> i = 0; break }
    od;
    raise_tail(cursor);
    do
    :: atomic { i < SLOTS -> word = slot[AT(cursor + i)] }; /* slots_repair() */
        atomic {
            if
            :: LAP_OF_WORD(word) < LAP(cursor + i) ->
                cas(slot[AT(cursor + i)], word, EMPTY(LAP(cursor + i)), done)
            :: else -> skip
            fi;
            i++;
            word = 0;
            done = false
        }
    :: atomic { i == SLOTS -> i = 0; break }
    od;
#ifndef MUTANT_NO_REACK
    acknowledge()
#else
    skip
#endif
}

/* es_ring_take(), then drain's next_ticket() and use_ticket() */
inline take_ticket()
{
    word = slot[AT(cursor)];
    if
    :: atomic { IS_FULL(word) && LAP_OF_WORD(word) == LAP(cursor) ->
            cursor++;
            lane = LANE(word);
            until = SEQUENCE(word);
            word = 0;
            if /* es_ticket_sequence(): else it is stale */
            :: until > consumed[lane] && until <= consumed[lane] + CREDITS -> skip
            :: else -> until = 0
            fi };
        do
        :: atomic { consumed[lane] < until && published[lane] > consumed[lane] ->
                take_record(lane) }
        :: atomic { consumed[lane] >= until || published[lane] <= consumed[lane] ->
                lane = 0;
                until = 0;
                break }
        od
    :: atomic { word == EMPTY(LAP(cursor)) -> seen = tail };
        atomic {
            if
            :: seen == cursor -> skip
            :: seen < cursor || seen > cursor + SLOTS ->
                cas(tail, seen, cursor, done) /* tail_repair() */
            :: else -> /* position_void(): only where a ticket was erased */
                assert(slot[AT(cursor)] != word)
            fi;
            word = 0;
            seen = 0;
            done = false
        }
    :: word != EMPTY(LAP(cursor)) && LAP_OF_WORD(word) != LAP(cursor) ->
        assert(false) /* a forged lap */
    fi
}

/* es_ring_has_ticket() */
#ifndef NO_RAISE
#define HAS_TICKET                                                                                 \
    (cursor - freed < SLOTS && (slot[AT(cursor)] != EMPTY(LAP(cursor)) || tail != cursor))
#else
#define HAS_TICKET (cursor - freed < SLOTS && slot[AT(cursor)] != EMPTY(LAP(cursor)))
#endif
/* drain_needs_commit() */
#define IS_AHEAD(lane) (consumed[lane] > logged[lane])
#if PRODUCERS == 2
#define HAS_ANSWERS (IS_AHEAD(0) || IS_AHEAD(1))
#else
#define HAS_ANSWERS (IS_AHEAD(0) || IS_AHEAD(1) || IS_AHEAD(2))
#endif
#define NEEDS_COMMIT (HAS_ANSWERS || cursor - freed > SLOTS / 4)
/* drain's sweep(): its 10 ms may be over at any time */
#define IS_SWEPT(lane) (published[lane] > consumed[lane])
/* lanes_tidy() */
#define IS_OVER(lane)                                                                              \
    (owner_gone[lane] && published[lane] == acked[lane] && consumed[lane] == acked[lane])

inline release(lane)
{
    atomic {
        published[lane] = 0; /* another file, another incarnation */
        acked[lane] = 0;
        logged[lane] = 0;
        consumed[lane] = 0;
        i = 0;
        do
        :: i < CREDITS -> arena[lane * CREDITS + i] = 0; i++
        :: else -> i = 0; break
        od;
        owner_gone[lane] = false
    }
}

inline commit()
{
#ifdef MUTANT_FREE_BEFORE_COMMIT
    free_slots();
#endif
#ifdef MUTANT_ACK_BEFORE_COMMIT
    acknowledge();
#endif
    write_log();
    free_slots();
    acknowledge()
}

proctype Broker()
{
    byte cursor;
    byte freed;
    byte consumed[PRODUCERS];
    byte i;
    byte lane;
    byte until;
    byte seen;
    short word;
    bool done;

start:
    atomic {
        i = 0;
        do
        :: i < PRODUCERS -> consumed[i] = logged[i]; i++
        :: else -> i = 0; break
        od;
        cursor = logged_cursor;
        freed = cursor;
        lane = 0;
        until = 0;
        seen = 0;
        word = 0;
        done = false
    };
    {
        take_over();
end_idle:
        do
        :: HAS_TICKET -> take_ticket()
#ifndef MUTANT_NO_SWEEP
        :: atomic { IS_SWEPT(0) -> take_record(0) }
        :: atomic { IS_SWEPT(1) -> take_record(1) }
#if PRODUCERS > 2
        :: atomic { IS_SWEPT(2) -> take_record(2) }
#endif
#endif
        :: NEEDS_COMMIT -> commit()
        :: atomic { IS_OVER(0) -> release(0) }
        :: atomic { IS_OVER(1) -> release(1) }
#if PRODUCERS > 2
        :: atomic { IS_OVER(2) -> release(2) }
#endif
        od
    } unless {
        broker_killed
    };
    broker_killed = false;
    goto start
}

/* ---- death, and the end ---------------------------------------------------------- */

active proctype Death()
{
    byte kills;

    atomic {
        run Broker();
        run Producer(0);
        run Producer(1);
#if PRODUCERS > 2
        run Producer(2);
#endif
    };
    do
    :: kills < KILLS ->
        atomic {
            kills++;
            if
            :: killed[0] = true
            :: killed[1] = true
#if PRODUCERS > 2
            :: killed[2] = true
#endif
            :: broker_killed = true
            fi
        }
    :: break
    od;
    timeout; /* nothing can move any more */
    atomic {
        kills = 0;
        do
        :: kills < PRODUCERS ->
            assert(acked[kills] == published[kills]);
            assert(logged[kills] == published[kills]);
            kills++
        :: else -> break
        od;
        kills = KILLS
    }
}
