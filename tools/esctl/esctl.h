/*
 * What every verb of esctl is given and gives back. A verb is one file with one
 * public function, `enum es_exit verb_NAME(struct invocation *)`, and one line in
 * the table of verbs.c. It describes its command line in a verb_syntax, has
 * invocation_parse() read it, does its work, and returns the exit code.
 *
 *   main.c        global options, finds the verb
 *   verbs.c       the table
 *   invocation.c  options and words of one verb, the connection, errors
 *   arguments.c   strict numbers, hashes and expectations
 *
 * Output for people goes to stdout, with --json one object per line (json_out.h);
 * errors go to stderr as `esctl: what happened: the way out`. One thread.
 */
#ifndef ESCTL_ESCTL_H
#define ESCTL_ESCTL_H

#include <argp.h>
#include <eventspine.h>

/* The exit codes; scripts depend on them. */
enum es_exit {
    ES_EXIT_OK = 0,
    ES_EXIT_NO = 1,             /* an expected "no": a conflict, not found */
    ES_EXIT_USAGE = 64,         /* the command line is wrong */
    ES_EXIT_DATA = 65,          /* damaged or malformed data */
    ES_EXIT_UNAVAILABLE = 69,   /* the broker is not reachable */
    ES_EXIT_CANNOT_CREATE = 73, /* an output file cannot be created */
    ES_EXIT_IO = 74,            /* reading or writing failed */
    ES_EXIT_TRY_AGAIN = 75      /* the outcome is unknown, or it may work later */
};

#define ES_WORDS_MAX 4 /* words (arguments that are not options) a verb takes at most */

/* One run of the program. What main.c fills in is there before the verb runs. */
struct invocation {
    const char *run_dir; /* --run, or NULL: the library's default */
    bool json;           /* --json */
    uint64_t timeout_ns; /* --timeout: for each answer waited for */
    char *title;         /* "esctl snapshot save": for help texts */
    int argc;            /* the arguments after the verb; argv[0] is 'title' */
    char **argv;

    const char *words[ES_WORDS_MAX]; /* set by invocation_parse() */
    int word_count;
    struct es_connection *connection; /* invocation_connect(); closed by main.c */
};

/* The command line of one verb. Options of every verb (--run, --json, --timeout,
 * --help, --version) are understood besides. Short options 'r', 'j', 't' are taken. */
struct verb_syntax {
    const char *words_doc;             /* for the usage line: "STREAM TYPE" */
    const char *doc;                   /* for --help, after the usage line */
    const struct argp_option *options; /* ended by {0}; NULL: none of its own */
    /* Takes one of 'options' into 'context'; false after invocation_usage_error(). */
    bool (*take)(struct invocation *invocation, int key, const char *argument, void *context);
    int word_count_min;
    int word_count_max;
};

/*
 * Reads the verb's arguments: options through syntax->take, words into
 * invocation->words. False: an error has been printed; return ES_EXIT_USAGE.
 * --help and --version print and exit.
 */
bool invocation_parse(struct invocation *invocation, const struct verb_syntax *syntax,
                      void *context);

/* Opens invocation->connection. ES_EXIT_OK, or an error has been printed. */
enum es_exit invocation_connect(struct invocation *invocation);

/* Prints "esctl: <what>: see `esctl VERB --help`" and returns false, for
 * verb_syntax.take and for checks across options. */
bool invocation_usage_error(const struct invocation *invocation, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Prints "esctl: <text>"; the text is "what happened: the way out". */
void invocation_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * Prints why a call of the library on this connection failed, in the library's
 * words where it has some, and returns the exit code that belongs to 'status'.
 */
enum es_exit invocation_failed(const struct invocation *invocation, enum es_status status);

/* The exit code that belongs to a status; prints nothing. */
enum es_exit exit_of_status(enum es_status status);

/*
 * Ends the output: flushes stdout. ES_EXIT_IO after an error has been printed, if
 * anything written to stdout did not get there; else 'exit'.
 */
enum es_exit invocation_finish_output(enum es_exit exit);

struct json_out;

/*
 * Prints one line of JSON on stdout and frees it. 'exit', or ES_EXIT_IO: it did
 * not get there, which has been told or will be by invocation_finish_output().
 */
enum es_exit invocation_print(struct json_out *line, enum es_exit exit);

/* A verb of the table; 'verbs' of a group ("snapshot") are its second words. */
struct verb {
    const char *name;
    const char *summary; /* one line for `esctl --help` */
    enum es_exit (*run)(struct invocation *invocation);
    const struct verb *verbs; /* NULL, or a group: ended by a verb without name */
};

extern const struct verb verb_table[]; /* ended by a verb without name */

enum es_exit verb_append(struct invocation *invocation);
enum es_exit verb_producer(struct invocation *invocation);
enum es_exit verb_producers(struct invocation *invocation);
enum es_exit verb_import(struct invocation *invocation);
enum es_exit verb_export(struct invocation *invocation);
enum es_exit verb_read(struct invocation *invocation);
enum es_exit verb_tail(struct invocation *invocation);
enum es_exit verb_head(struct invocation *invocation);
enum es_exit verb_streams(struct invocation *invocation);
enum es_exit verb_snapshot_save(struct invocation *invocation);
enum es_exit verb_snapshot_show(struct invocation *invocation);
enum es_exit verb_snapshot_list(struct invocation *invocation);
enum es_exit verb_snapshot_delete(struct invocation *invocation);
enum es_exit verb_kv_put(struct invocation *invocation);
enum es_exit verb_kv_get(struct invocation *invocation);
enum es_exit verb_kv_delete(struct invocation *invocation);
enum es_exit verb_kv_list(struct invocation *invocation);
enum es_exit verb_verify(struct invocation *invocation);
enum es_exit verb_backup(struct invocation *invocation);
enum es_exit verb_restore(struct invocation *invocation);
enum es_exit verb_recover(struct invocation *invocation);
enum es_exit verb_status(struct invocation *invocation);
enum es_exit verb_inspect(struct invocation *invocation);

#endif
