/*
 * Verification of a data directory without a broker: the store is opened
 * read-only, with what the commit log holds beyond it laid over it in memory. It
 * changes no byte, and is refused while a broker has the directory. One thread.
 */
#ifndef ESCTL_VERIFY_OFFLINE_H
#define ESCTL_VERIFY_OFFLINE_H

#include "tools/esctl/esctl.h"

enum es_exit verify_offline(struct invocation *invocation, const char *data_dir);

#endif
