/*
 * Loaded into the broker by LD_PRELOAD: ES_KILL_AT=PROBE:NTH ends it there, and
 * ES_HOLD_AT=PROBE:NTH only the thread that comes there. A wrong name ends it at once,
 * with code 78.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/torture/kill_point.h"

__attribute__((constructor)) static void arm(void)
{
    const char *kill_at = getenv("ES_KILL_AT");
    const char *wanted = kill_at != NULL ? kill_at : getenv("ES_HOLD_AT");
    const char *colon = wanted == NULL ? NULL : strchr(wanted, ':');
    char probe[64] = "";

    if (wanted == NULL) {
        return;
    }
    if (colon == NULL || (size_t)(colon - wanted) >= sizeof probe) {
        _exit(78);
    }
    memcpy(probe, wanted, (size_t)(colon - wanted));
    if (!(kill_at != NULL ? kill_point_arm
                          : kill_point_arm_hold)(probe, (uint32_t)strtoul(colon + 1, NULL, 10))) {
        _exit(78);
    }
}
