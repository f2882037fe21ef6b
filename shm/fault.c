#include "shm/fault.h"

#include <assert.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

/* A range is free while its size is 0, and watched once its base is set. */
struct range {
    _Atomic uintptr_t base; /* 0: not watched */
    _Atomic size_t size;
    _Atomic bool was_hit;
};
static struct range ranges[ES_FAULT_RANGE_COUNT_MAX];
static _Atomic uintptr_t page_bytes; /* the kernel's: 64 KiB on some arm64 */

static_assert(ATOMIC_POINTER_LOCK_FREE == 2 && ATOMIC_BOOL_LOCK_FREE == 2,
              "a signal handler takes no lock");

static struct range *range_of(uintptr_t address)
{
    for (uint32_t i = 0; i < ES_FAULT_RANGE_COUNT_MAX; i++) {
        uintptr_t base = atomic_load_explicit(&ranges[i].base, memory_order_acquire);

        if (base != 0 && address >= base && address - base < atomic_load(&ranges[i].size)) {
            return &ranges[i];
        }
    }
    return NULL;
}

static void on_bus_error(int number, siginfo_t *info, void *context)
{
    uintptr_t address = (uintptr_t)info->si_addr;
    struct range *range = range_of(address);
    uintptr_t size = atomic_load(&page_bytes);
    void *page = (void *)(address & ~(size - 1));

    (void)context;
    if (range == NULL || mmap(page, size, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) {
        /* not ours, or no help: the access is repeated and does what it did before */
        (void)signal(number, SIG_DFL);
        return;
    }
    atomic_store(&range->was_hit, true);
}

enum es_status es_fault_install(void)
{
    struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_RESTART};

    atomic_store(&page_bytes, (uintptr_t)sysconf(_SC_PAGESIZE));
    return sigemptyset(&action.sa_mask) == 0 && sigaction(SIGBUS, &action, NULL) == 0 ? ES_OK
                                                                                      : ES_E_IO;
}

enum es_status es_fault_watch(const struct es_segment *segment, uint32_t *ret_index)
{
    for (uint32_t i = 0; i < ES_FAULT_RANGE_COUNT_MAX; i++) {
        size_t free_size = 0;

        if (atomic_compare_exchange_strong(&ranges[i].size, &free_size, segment->size)) {
            atomic_store(&ranges[i].was_hit, false);
            atomic_store_explicit(&ranges[i].base, (uintptr_t)segment->base, memory_order_release);
            *ret_index = i;
            return ES_OK;
        }
    }
    return ES_E_LIMIT;
}

void es_fault_forget(uint32_t index)
{
    assert(index < ES_FAULT_RANGE_COUNT_MAX);

    atomic_store(&ranges[index].base, 0);
    atomic_store(&ranges[index].size, 0);
}

bool es_fault_was_hit(uint32_t index)
{
    assert(index < ES_FAULT_RANGE_COUNT_MAX);

    return atomic_load(&ranges[index].was_hit);
}
