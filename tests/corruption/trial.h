/*
 * One trial: a damaged copy, a start on it, and a reading of everything, in a process of
 * its own (runner.h), for RocksDB may end it.
 *
 * Threads. One.
 */
#ifndef TESTS_CORRUPTION_TRIAL_H
#define TESTS_CORRUPTION_TRIAL_H

#include "tests/corruption/reach.h"

enum trial_outcome {
    TRIAL_REFUSED,    /* with a sentence, and no byte changed */
    TRIAL_READ_ERROR, /* served; what is damaged answers with an error that says where */
    TRIAL_VERIFY,     /* served whole; verify finds something */
    TRIAL_HARMLESS,   /* served whole, and verify finds nothing */
    TRIAL_RECEIPT,    /* an older directory, served: whoever has a receipt knows */
    TRIAL_SILENT,     /* something is missing and nobody says so */
    TRIAL_WRONG,      /* other bytes were served */
    TRIAL_MUTE,       /* refused or failed without a sentence or a position, or for want of means */
    TRIAL_CRASHED,
    TRIAL_HUNG,
    TRIAL_CHANGED, /* refused, and bytes changed */
    TRIAL_OUTCOME_COUNT
};

extern const char *const trial_outcome_names[TRIAL_OUTCOME_COUNT];

enum {
    TRIAL_TEXT_BYTES = 1024,
    TRIAL_OWNERS_MAX = 16,
    TRIAL_OWNER_NOBODY = 0,
    TRIAL_OWNER_SEVERAL = 255
};

struct trial_result {
    enum trial_outcome outcome;
    int status; /* of the start */
    uint64_t errors;
    bool is_unsure;              /* of several: what was found may be another's */
    char text[TRIAL_TEXT_BYTES]; /* why it was refused, or what went wrong */
};

/* True: nothing is lost in silence. */
bool trial_is_good(enum trial_outcome outcome);

/*
 * How much is read after a start. 'owners' has a byte for each unit of the history: the number,
 * from 1 on, of the damage that touches it, TRIAL_OWNER_NOBODY where none does and
 * TRIAL_OWNER_SEVERAL where more do; NULL: not known. Unless 'is_whole' only what somebody owns
 * is read. With it everything is, verify is asked too, and a finding in a unit of nobody's is a
 * bad trial: the reach was wrong.
 */
struct trial_reading {
    const struct history *history;
    const uint8_t *owners;
    uint32_t owner_count; /* 1 if 'owners' is NULL */
    bool is_whole;
};

/*
 * Makes the damage in a directory beside 'beside', tries it, and removes it. A result for each
 * owner; a start that is refused, or a process that ends, is the result of all. The history
 * is the same in every call of one process.
 */
void trial_run(const struct damage *damage, const struct trial_reading *reading, const char *beside,
               struct trial_result ret_results[TRIAL_OWNERS_MAX]);

/* Ends the process in which trials were made. */
void trial_end(void);

/* Records the history of an undamaged copy. Ends the program if it is not sound. */
void trial_record(const struct directory_image *image, const char *path, const char *history_path);

#endif
