#include "broker/last_words.h"

#include <dlfcn.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

/* Of the C++ library, if there is one in the process: by name, for C cannot call it. */
#define SET_NEW_HANDLER "_ZSt15set_new_handlerPFvvE"
#define SET_TERMINATE "_ZSt13set_terminatePFvvE"

typedef void (*handler_fn)(void);
typedef handler_fn (*set_handler_fn)(handler_fn handler);

/* Without memory, and whatever lock is held: so not by way of the logger. */
_Noreturn static void end(const char *words, int code)
{
    ssize_t written = write(STDERR_FILENO, words, strlen(words));

    (void)written;
    _exit(code);
}

static void memory_ended(void)
{
    end("esbroker: not enough memory for RocksDB: stopping at once; start again with more\n",
        EX_TEMPFAIL);
}

static void exception_escaped(void)
{
    end("esbroker: RocksDB failed inside, where it cannot say why (too many threads?): stopping at "
        "once; start again to see what was stored\n",
        EX_IOERR);
}

static void install(const char *name, handler_fn handler)
{
    set_handler_fn set = NULL;
    void *found = dlsym(RTLD_DEFAULT, name);

    memcpy(&set, &found, sizeof set); /* an object pointer is not cast into a function */
    if (set != NULL) {
        (void)set(handler);
    }
}

void last_words_install(void)
{
    install(SET_NEW_HANDLER, memory_ended);
    install(SET_TERMINATE, exception_escaped);
}
