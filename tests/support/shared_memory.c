#include "tests/support/shared_memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

struct es_segment shared_memory(size_t size)
{
    struct es_segment segment = ES_SEGMENT_NONE;
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (base == MAP_FAILED) {
        perror("mmap");
        abort();
    }
    segment.base = base;
    segment.size = size;
    return segment;
}
