/*
 * Two producers and one name: each claims it with a take-over, is told the last number, and
 * publishes from there on; the broker drains lanes, empties the owner's for a claim, writes
 * batches and answers. A producer may be killed at any step and begins anew, with a new claim;
 * the broker may be killed at any step and starts again. Both producers send the same things
 * under the same numbers, as two runs of one import do.
 *
 * How records get into a lane and are found there is ring.pml; how results, log and control
 * page follow each other is commit.pml: here a batch is durable in one step, and whoever is
 * acknowledged sees what was judged. Lanes are numbered as they are made, and outlive the broker.
 *
 * Properties
 *   no number is stored twice, and none is left out                         judge(), write()
 *   nothing of an earlier owner is stored once a later one was told         write()
 *   who is told a last number is told what is durable                       answer_claim()
 *   what the owner had published before a claim began is not fenced         judge()
 *   FENCED is told to who has lost the name, always and to nobody else      Producer
 *   a number that is sent again gets the receipt of the first time          Producer
 *   no wedge: each producer gets its answers (invalid end states; no cycles by pan -l)
 *
 * -DMUTANT_...: TELL_BEFORE_DURABLE, CLAIM_BEFORE_EMPTIED, NUMBER_BEFORE_EMPTIED, FENCED_BY_TIME,
 * OWNER_IN_MEMORY, INCARNATION_REUSED, REPEAT_STORED, REPEAT_ANSWERED_ANEW.
 */
#ifndef NUMBERS
#define NUMBERS 2 /* to be stored under the name */
#endif
#ifndef LANES
#define LANES 3 /* claims that are heard, at most */
#endif
#ifndef KILLS
#define KILLS 1 /* of the broker */
#endif
#ifndef DEATHS
#define DEATHS 1 /* of producers */
#endif
#define PRODUCERS 2
#define NOBODY LANES

#define RECORD(lane, sequence) ((lane) * NUMBERS + (sequence) - 1)
#define FENCED 255

/* Requests for the name. */
#define NONE 0
#define ASKED 1
#define TOLD 2
#define BROKEN 3    /* the broker has died before it answered */
#define ABANDONED 4 /* who had asked has died */
#define REFUSED 5
byte request[PRODUCERS];
byte told_lane[PRODUCERS];
byte told_number[PRODUCERS];

/* The lanes: outlive the broker's process. */
byte lane_count;
byte incarnation[LANES];
byte published[LANES];
byte acked[LANES];
byte number_of[LANES * NUMBERS];
byte result[LANES * NUMBERS]; /* FENCED, or the receipt */

/* The log, and what the store makes of it. A receipt is the record that stored it, plus 1. */
byte owner_log; /* an incarnation; 0: nobody has the name */
byte last_log;
byte consumed_log[LANES];
byte receipt[NUMBERS + 1];

/* The broker's process. */
byte owner;
byte last;
byte consumed[LANES];
byte stored_by[NUMBERS + 1]; /* in the open batch */
bool has_batch;
bool is_written;
byte claimant = PRODUCERS; /* whose claim is at work; PRODUCERS: nobody's */
byte claim_lane;
byte claim_number;
byte claim_of; /* the lane that owned the name before; NOBODY */
byte claim_until;
bool claim_in_batch;
#ifdef MUTANT_INCARNATION_REUSED
byte before; /* lanes that this process has not made */
#endif
#ifdef MUTANT_FENCED_BY_TIME
bool is_timed_out[LANES];
#endif

byte deaths; /* of producers */
byte kills;  /* of the broker */

/* Ghosts. */
byte newest_told; /* the newest lane whose producer was told of it, plus 1 */
byte fenced_behind[LANES];
byte lanes_lost; /* the newest lane whose claim is durable, plus 1 */
bool is_late[LANES * NUMBERS]; /* published when the owner of a later lane had been told */

/* ---- producers ------------------------------------------------------------------- */

proctype Producer(byte me)
{
    byte lane;
    byte next;
    byte collected;

claim:
    atomic {
        lane = 0;
        next = 0;
        collected = 0;
        request[me] == NONE -> request[me] = ASKED
    };
    do
    :: atomic { request[me] == TOLD ->
            request[me] = NONE;
            lane = told_lane[me];
            next = told_number[me] + 1;
            told_lane[me] = 0;
            told_number[me] = 0;
            do /* it need not go on there: it may send again from any number on */
            :: next > 1 -> next--
            :: break
            od;
            break }
    :: atomic { request[me] == BROKEN -> request[me] = NONE; goto claim }
    :: atomic { request[me] == REFUSED -> request[me] = NONE; goto gone }
    :: atomic { request[me] == ASKED && deaths < DEATHS ->
            deaths++;
            request[me] = ABANDONED;
            goto claim }
    :: atomic { request[me] == TOLD && deaths < DEATHS ->
            deaths++;
            request[me] = NONE;
            told_lane[me] = 0;
            told_number[me] = 0;
            goto claim }
    od;
    do
    :: atomic { next <= NUMBERS -> /* es_lane_publish() */
            number_of[RECORD(lane, published[lane] + 1)] = next;
            is_late[RECORD(lane, published[lane] + 1)] = newest_told > lane + 1;
            published[lane]++;
            next++ }
    :: atomic { acked[lane] > collected -> /* es_lane_collect() */
            collected++;
            if
            :: result[RECORD(lane, collected)] == FENCED ->
                assert(lanes_lost > lane + 1); /* somebody has claimed it since */
                goto gone
            :: else ->
                assert(!is_late[RECORD(lane, collected)]);
                assert(number_of[RECORD(lane, collected)] <= last_log);
                assert(result[RECORD(lane, collected)] ==
                       receipt[number_of[RECORD(lane, collected)]]);
                is_late[RECORD(lane, collected)] = false
            fi }
    :: atomic { deaths < DEATHS ->
            deaths++;
            do /* nobody waits for these */
            :: collected < published[lane] ->
                collected++;
                is_late[RECORD(lane, collected)] = false
            :: else -> break
            od;
            goto claim }
    :: atomic { next > NUMBERS && collected == published[lane] -> break }
    od;
    assert(last_log == NUMBERS);
gone:
    skip
}

/* ---- the broker ------------------------------------------------------------------ */

inline close_batch()
{
    has_batch = false;
    is_written = false;
    claim_in_batch = false;
    number = 0;
    do
    :: number <= NUMBERS -> stored_by[number] = 0; number++
    :: else -> number = 0; break
    od
}

/* drain_fill(), producer_rules_judge_owner() and _judge_number(): the lane's next record */
inline judge(lane)
{
    consumed[lane]++;
    record = RECORD(lane, consumed[lane]);
    number = number_of[record];
    has_batch = true;
#ifdef MUTANT_OWNER_IN_MEMORY
    if
    :: owner == 0 -> owner = incarnation[lane]
    :: else -> skip
    fi;
#endif
    if
#ifdef MUTANT_FENCED_BY_TIME
    :: is_timed_out[lane] -> result[record] = FENCED
    :: !is_timed_out[lane] && number > last + 1 -> result[record] = FENCED /* a gap */
#else
    :: owner != incarnation[lane] ->
        result[record] = FENCED;
        assert(consumed[lane] > fenced_behind[lane])
#endif
    :: else ->
        if
#ifndef MUTANT_REPEAT_STORED
        :: number <= last -> /* first_result_find() */
#ifdef MUTANT_REPEAT_ANSWERED_ANEW
            result[record] = record + 1
#else
            result[record] = receipt[number]
#endif
#endif
        :: else ->
            assert(number <= last + 1);
            last = number;
            stored_by[number] = record + 1;
            result[record] = record + 1
        fi
    fi;
    record = 0;
    number = 0
}

/* A repeat of what lies in the open batch waits until that is applied. */
#define MAY_TAKE(lane) \
    (!is_written && published[lane] > consumed[lane] && \
     stored_by[number_of[RECORD(lane, consumed[lane] + 1)]] == 0)

/* drain_begin_waiting(), begin_claim() */
inline begin_claim(who)
{
    claimant = who;
    claim_lane = lane_count;
    lane_count++;
    incarnation[claim_lane] = lane_count;
#ifdef MUTANT_INCARNATION_REUSED
    incarnation[claim_lane] = lane_count - before;
#endif
    claim_of = 0;
    do
    :: claim_of < claim_lane && incarnation[claim_of] != owner -> claim_of++
    :: else -> break
    od;
    if
    :: claim_of == claim_lane -> claim_of = NOBODY; claim_until = 0
    :: else ->
        claim_until = published[claim_of];
        fenced_behind[claim_of] = claim_until
    fi;
    claim_number = last
}

#ifdef MUTANT_CLAIM_BEFORE_EMPTIED
#define OWNER_IS_EMPTY true
#else
#define OWNER_IS_EMPTY (claim_of == NOBODY || consumed[claim_of] >= claim_until)
#endif

/* producer_rules_claim() */
inline add_claim()
{
    owner = incarnation[claim_lane];
    claim_in_batch = true;
    has_batch = true;
#ifndef MUTANT_NUMBER_BEFORE_EMPTIED
    claim_number = last
#endif
}

inline forget_claim()
{
    claimant = PRODUCERS;
    claim_lane = 0;
    claim_number = 0;
    claim_of = 0;
    claim_until = 0
}

inline answer_claim()
{
    if
    :: request[claimant] == ASKED ->
        assert(claim_number == last_log);
        request[claimant] = TOLD;
        told_lane[claimant] = claim_lane;
        told_number[claimant] = claim_number;
        newest_told = claim_lane + 1
    :: request[claimant] == ABANDONED -> request[claimant] = NONE
    :: else -> skip
    fi
}

/* committer_seal(), the scribe, committer_finish() up to the control page */
inline write()
{
    number = last_log + 1;
    do
    :: number <= NUMBERS && stored_by[number] != 0 ->
        assert(receipt[number] == 0);
        assert((stored_by[number] - 1) / NUMBERS + 1 >= newest_told);
        receipt[number] = stored_by[number];
        number++
    :: else -> break
    od;
    number = 0;
    last_log = last;
#ifndef MUTANT_OWNER_IN_MEMORY
    owner_log = owner;
#endif
    if
    :: claim_in_batch -> lanes_lost = claim_lane + 1
    :: else -> skip
    fi;
    lane = 0;
    do
    :: lane < LANES -> consumed_log[lane] = consumed[lane]; lane++
    :: else -> lane = 0; break
    od;
    is_written = true
}

/* lanes_acknowledge(), of all lanes that the batch has touched */
inline acknowledge()
{
    lane = 0;
    do
    :: lane < LANES -> acked[lane] = consumed_log[lane]; lane++
    :: else -> lane = 0; break
    od
}

/* The process dies, and startup.c takes over what it has left: whoever waits for an answer
 * sees the connection break. */
inline start_anew()
{
    owner = owner_log;
    last = last_log;
    lane = 0;
    do
    :: lane < LANES -> consumed[lane] = consumed_log[lane]; lane++
    :: else -> lane = 0; break
    od;
    acknowledge();
    close_batch();
    forget_claim();
#ifdef MUTANT_INCARNATION_REUSED
    before = lane_count;
#endif
    who = 0;
    do
    :: who < PRODUCERS && request[who] == ASKED -> request[who] = BROKEN; who++
    :: who < PRODUCERS && request[who] == ABANDONED -> request[who] = NONE; who++
    :: who < PRODUCERS && request[who] != ASKED && request[who] != ABANDONED -> who++
    :: else -> who = 0; break
    od
}

active proctype Broker()
{
    byte lane;
    byte number;
    byte record;
    byte who;

    atomic {
        run Producer(0);
        run Producer(1)
    };
end_idle:
    do
    :: atomic { MAY_TAKE(0) -> judge(0) }
    :: atomic { LANES > 1 && MAY_TAKE(1) -> judge(1) }
    :: atomic { LANES > 2 && MAY_TAKE(2) -> judge(2) }
#if LANES > 3
    :: atomic { MAY_TAKE(3) -> judge(3) }
#endif
#if LANES > 4
    :: atomic { MAY_TAKE(4) -> judge(4) }
#endif
    :: atomic { !is_written && claimant == PRODUCERS && request[0] == ASKED && lane_count < LANES ->
            begin_claim(0) }
    :: atomic { !is_written && claimant == PRODUCERS && request[1] == ASKED && lane_count < LANES ->
            begin_claim(1) }
    :: atomic { lane_count == LANES && claimant != 0 && request[0] == ASKED -> request[0] = REFUSED }
    :: atomic { lane_count == LANES && claimant != 1 && request[1] == ASKED -> request[1] = REFUSED }
    :: atomic { claimant != 0 && request[0] == ABANDONED -> request[0] = NONE }
    :: atomic { claimant != 1 && request[1] == ABANDONED -> request[1] = NONE }
    :: atomic { !is_written && claimant != PRODUCERS && !claim_in_batch && OWNER_IS_EMPTY ->
            add_claim();
#ifdef MUTANT_TELL_BEFORE_DURABLE
            answer_claim()
#endif
            }
    :: atomic { has_batch && !is_written -> write() }
    :: atomic { is_written && has_batch -> acknowledge(); has_batch = false }
    :: atomic { is_written && !has_batch -> /* committer_finish() answers requests last */
            if
            :: claim_in_batch ->
#ifndef MUTANT_TELL_BEFORE_DURABLE
                answer_claim();
#endif
                forget_claim()
            :: else -> skip
            fi;
            close_batch() }
#ifdef MUTANT_FENCED_BY_TIME
    :: atomic { newest_told > 1 && !is_timed_out[newest_told - 2] ->
            is_timed_out[newest_told - 2] = true }
#endif
    :: atomic { kills < KILLS -> kills++; start_anew() }
    od
}
