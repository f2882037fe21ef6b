#include "tests/simulation/sim_bugs.h"

#include "broker/committer.h"
#include "tests/simulation/sim.h"
#include "tests/simulation/sim_model.h"

const char *const sim_bugs[] = {NULL};

enum es_status __real_log_sync(struct log *log);
enum es_status __wrap_log_sync(struct log *log);
enum es_status __wrap_log_sync(struct log *log)
{
    uint64_t applied = model_newest_commit(); /* is in the log already */
    enum es_status status = __real_log_sync(log);

    if (status == ES_OK) {
        model_synced(applied);
    }
    return status;
}
