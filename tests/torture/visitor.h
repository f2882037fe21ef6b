/*
 * One short life of a producer: attaches, appends a little, and ends in one of many
 * ways. Runs in a child of herd.c, which kills it, or only counts.
 */
#ifndef TORTURE_VISITOR_H
#define TORTURE_VISITOR_H

#include "tests/torture/book.h"

enum visitor_end {
    VISITOR_KILLED,      /* by its parent, at any moment */
    VISITOR_KILL_POINT,  /* by itself, at a probe */
    VISITOR_STOPPED,     /* SIGSTOP, a while later SIGCONT, then it goes on */
    VISITOR_EXITED,      /* without closing, with appends in flight */
    VISITOR_FORKED,      /* its child uses the handle, and must be refused */
    VISITOR_EXECUTED,    /* becomes another program */
    VISITOR_SPOILT_LANE, /* publishes a record that is none */
    VISITOR_CLOSED,      /* as it should */
    VISITOR_ENDS
};

const char *visitor_end_name(enum visitor_end end);

struct visitor {
    const char *run_dir;
    struct book *book;
    uint32_t client;
    uint64_t random;
    enum visitor_end end;
    const char *probe; /* with VISITOR_KILL_POINT */
    uint32_t nth;
    const char *name; /* NULL: a producer without one */
    bool takes_over;
};

/* Exit code: 0 as planned, 3 no broker, 9 a promise is broken. */
_Noreturn void visitor_live(const struct visitor *visitor);

#endif
