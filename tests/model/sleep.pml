/*
 * Sleeping and waking: the broker on the bells of its rings, a producer on its lane's
 * `acked`, each waking the other only where it sleeps (doorbell.c, lane_writer.c and
 * lane_reader.c; the Dekker pairs [D1]). Sleeps have no bound here, so that a lost wake is
 * seen: in the code it would cost 10 ms or sleep_ns_max. Producers die at any step.
 *
 * Properties
 *   a living producer that has rung is answered, whoever else died where   Death
 *   so nobody sleeps for ever                                             invalid end states
 *
 * -DMUTANT_...: LOOK_BEFORE_ARMING, CLEAR_BEFORE_RINGING, CLEAR_ANY_SLEEP,
 * CLEAR_THOUGH_NOBODY_WOKE, ACK_AFTER_LOOKING.
 */
#define PRODUCERS 2
#ifndef RECORDS
#define RECORDS 2 /* of the one that lives */
#endif
#ifndef RECORDS_OF_MORTAL
#define RECORDS_OF_MORTAL 1
#endif
#ifndef KILLS
#define KILLS 1
#endif

/* Shared memory. */
byte published[PRODUCERS]; /* stands for slot and lane: what the broker would find */
byte acked[PRODUCERS];     /* and futex word */
byte waiting[PRODUCERS];
byte bell;                 /* futex word */
byte sleeping;

/* The kernel: who sleeps in a futex call. */
bool broker_sleeps;
bool producer_sleeps[PRODUCERS];

bool killed[PRODUCERS];
bool is_dead[PRODUCERS];

/* ---- producers ------------------------------------------------------------------- */

/* es_doorbell_ring() */
inline ring_bell()
{
    seen = sleeping; /* [D1] */
    if
    :: seen != 0 ->
#ifdef MUTANT_CLEAR_BEFORE_RINGING
        atomic { sleeping = (sleeping == seen -> 0 : sleeping) };
#endif
        bell++;
        broker_sleeps = false; /* es_futex_wake() */
#ifdef MUTANT_CLEAR_ANY_SLEEP
        atomic { sleeping = 0; seen = 0 }
#else
        atomic { sleeping = (sleeping == seen -> 0 : sleeping); seen = 0 }
#endif
    :: else -> skip
    fi
}

/* es_lane_wait() -> sleep_once() */
inline wait_for(sequence)
{
    do
    :: acked[me] >= sequence -> break
    :: acked[me] < sequence ->
        atomic {
            wait_number++;
            waiting[me] = wait_number /* [D1] */
        };
        seen = acked[me]; /* [D1] */
        if
        :: atomic { seen < sequence -> /* es_futex_wait(): the kernel compares, then sleeps */
                producer_sleeps[me] = (acked[me] == seen);
                seen = 0 };
            atomic { !producer_sleeps[me] -> waiting[me] = 0 }
        :: atomic { seen >= sequence -> waiting[me] = 0; seen = 0 }
        fi
    od
}

proctype Producer(byte me; byte record_count)
{
    byte sent;
    byte seen;
    byte wait_number;

    {
        do
        :: sent < record_count ->
            atomic {
                sent++;
                published[me] = sent /* es_lane_publish(), es_ring_place() */
            };
            ring_bell();
            if
            :: wait_for(sent)
            :: sent < record_count -> skip /* more in flight */
            fi
        :: sent == record_count -> break
        od
    } unless {
        killed[me]
    };
    if
    :: killed[me] ->
        atomic {
            is_dead[me] = true;
            killed[me] = false;
            producer_sleeps[me] = false;
            sent = 0;
            seen = 0;
            wait_number = 0
        }
    :: else
    fi
}

/* ---- the broker ------------------------------------------------------------------ */

/* lanes_acknowledge(): es_lane_ack() and es_lane_wake(), one record at a time */
inline acknowledge(lane)
{
#ifdef MUTANT_ACK_AFTER_LOOKING
    number = waiting[lane];
    acked[lane] = taken[lane];
#else
    acked[lane] = taken[lane]; /* [D1] */
    number = waiting[lane];    /* [D1] */
#endif
    if
    :: atomic { number != 0 -> /* es_futex_wake() */
            woke = producer_sleeps[lane];
            producer_sleeps[lane] = false };
        atomic {
#ifndef MUTANT_CLEAR_THOUGH_NOBODY_WOKE
            if
            :: woke -> skip
            :: else -> number = 0
            fi;
#endif
            waiting[lane] = (number != 0 && waiting[lane] == number -> 0 : waiting[lane]);
            number = 0;
            woke = false
        }
    :: else -> skip
    fi
}

#define HAS_WORK (published[0] > taken[0] || published[1] > taken[1])

/* commit_loop.c: sleep_until_something_waits() */
active proctype Broker()
{
    byte taken[PRODUCERS];
    byte sleep_number;
    byte bell_seen;
    byte number;
    bool woke;

    do
    :: atomic { published[0] > taken[0] -> taken[0]++ }; acknowledge(0)
    :: atomic { published[1] > taken[1] -> taken[1]++ }; acknowledge(1)
    :: !HAS_WORK -> /* es_doorbell_arm() */
        bell_seen = bell;
#ifndef MUTANT_LOOK_BEFORE_ARMING
        atomic {
            sleep_number++;
            sleeping = sleep_number /* [D1] */
        };
#endif
        if
        :: HAS_WORK -> skip /* [D1] drain_has_work(): es_doorbell_disarm() */
        :: else ->
#ifdef MUTANT_LOOK_BEFORE_ARMING
            atomic {
                sleep_number++;
                sleeping = sleep_number
            };
#endif
            atomic { /* es_futex_wait() */
                broker_sleeps = (bell == bell_seen);
                bell_seen = 0
            };
end_asleep:
            !broker_sleeps
        fi;
        atomic {
            sleeping = 0;
            bell_seen = 0
        }
    od
}

/* ---- death, and the end ---------------------------------------------------------- */

active proctype Death()
{
    byte kills;

    atomic {
        run Producer(0, RECORDS_OF_MORTAL);
        run Producer(1, RECORDS)
    };
    do
    :: atomic { kills < KILLS -> kills++; killed[0] = true }
    :: break
    od;
    timeout; /* nothing can move any more */
    assert(acked[1] == RECORDS);
    assert(is_dead[0] || acked[0] == RECORDS_OF_MORTAL)
}
