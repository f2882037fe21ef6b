/*
 * Counts of latencies in log-linear buckets: each power of two is cut into 128 equal parts, so that
 * a percentile is at most 1/128 too high, over eleven decades, in 34 KiB and without a sort.
 * The idea is Gil Tene's HdrHistogram (http://hdrhistogram.org); this is the part needed here.
 *
 * A histogram holds no pointer: it may lie in shared memory, one process filling it and another one
 * merging it afterwards. Nothing is atomic: whoever reads waits for the writer's end first.
 */
#ifndef EVENTSPINE_TOOLS_ESBENCH_HISTOGRAM_H
#define EVENTSPINE_TOOLS_ESBENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_PART_BITS 7                  /* 128 parts in each power of two */
#define HISTOGRAM_VALUE_MAX ((1ULL << 40) - 1) /* 18 minutes in nanoseconds; more is cut to it */
#define HISTOGRAM_BUCKET_COUNT ((40 - HISTOGRAM_PART_BITS + 1) << HISTOGRAM_PART_BITS)

struct histogram {
    uint64_t count;   /* of values added */
    uint64_t maximum; /* the largest value added, exact; 0 while there is none */
    uint64_t buckets[HISTOGRAM_BUCKET_COUNT];
};

/* An all-zero histogram is empty. */
void histogram_add(struct histogram *histogram, uint64_t value);

/* Adds everything counted in 'other'. */
void histogram_merge(struct histogram *histogram, const struct histogram *other);

/*
 * The smallest bucket end that at least 'parts_per_million' of the values do not exceed, and never
 * more than the maximum: 500000 is the median. 0 where the histogram is empty.
 */
uint64_t histogram_percentile(const struct histogram *histogram, uint32_t parts_per_million);

#endif
