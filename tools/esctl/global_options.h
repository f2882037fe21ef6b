/*
 * The options of every verb, for the two places that read them: main.c before
 * the verb, invocation.c after it. One thread.
 */
#ifndef ESCTL_GLOBAL_OPTIONS_H
#define ESCTL_GLOBAL_OPTIONS_H

#include "tools/esctl/esctl.h"

#define GLOBAL_OPTION_GROUP 9 /* in help texts they come after the verb's own */

extern const struct argp_option global_options[]; /* ended by {0} */

/*
 * Takes a global option; '*ret_known' false: it is none. False: an error was told.
 * Does not return from --help, --usage and --version; 'argp' has what they print.
 */
bool global_option_take(struct invocation *invocation, int key, const char *argument,
                        const struct argp *argp, bool *ret_known);

/* Tells what is wrong with 'word', an option that getopt refused. */
void option_error_tell(const struct invocation *invocation, const struct argp_option *options,
                       const char *word);

#endif
