#include "tests/simulation/sim_claims.h"

#include "tests/simulation/sim.h"

static struct claims now;

void claims_clear(void)
{
    now.count = 0;
}

static uint32_t find(const struct claims *in, uint64_t epoch)
{
    uint32_t at = 0;

    while (at < in->count && in->histories[at].epoch != epoch) {
        at++;
    }
    return at;
}

bool claims_know(uint64_t epoch)
{
    return find(&now, epoch) < now.count;
}

void claims_new_epoch(uint64_t epoch, uint64_t end)
{
    for (uint32_t i = 0; i < now.count; i++) {
        if (now.histories[i].end > end) {
            now.histories[i].end = end;
        }
    }
    if (now.count == HISTORIES_MAX) {
        sim_violation("too many epochs");
    }
    now.histories[now.count].epoch = epoch;
    now.histories[now.count].begin = end;
    now.histories[now.count].end = UINT64_MAX;
    now.histories[now.count].is_forgotten = false;
    now.count++;
}

void claims_save(struct claims *ret_saved)
{
    *ret_saved = now;
}

void claims_restore(const struct claims *saved)
{
    for (uint32_t i = 0; i < now.count; i++) {
        if (i < saved->count) {
            now.histories[i] = saved->histories[i];
        } else {
            now.histories[i].is_forgotten = true;
        }
    }
}

enum es_status claims_judge(uint64_t epoch, uint64_t position)
{
    uint32_t at = find(&now, epoch);

    if (at == now.count || now.histories[at].is_forgotten) {
        return ES_DIVERGED;
    }
    return position <= now.histories[at].end ? ES_OK : ES_REGRESSED;
}

bool claims_have_position(uint64_t epoch)
{
    uint32_t at = find(&now, epoch);

    return at < now.count && now.histories[at].end > now.histories[at].begin;
}
