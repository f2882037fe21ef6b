/* Log-linear buckets; the contract is in histogram.h. */
#include "tools/esbench/histogram.h"

#include <assert.h>
#include <stddef.h>

/* A bucket for each value below 2^(PART_BITS + 1); above, the highest PART_BITS + 1 bits choose. */
static size_t bucket_of(uint64_t value)
{
    unsigned shift = 0;

    if (value >> HISTOGRAM_PART_BITS != 0) {
        shift = 63U - (unsigned)__builtin_clzll(value) - HISTOGRAM_PART_BITS;
    }
    return ((size_t)shift << HISTOGRAM_PART_BITS) + (size_t)(value >> shift);
}

/* The largest value that falls into a bucket. */
static uint64_t bucket_end(size_t bucket)
{
    size_t group = bucket >> HISTOGRAM_PART_BITS;
    unsigned shift = group == 0 ? 0 : (unsigned)group - 1;
    uint64_t leading = (uint64_t)bucket - ((uint64_t)shift << HISTOGRAM_PART_BITS);

    return ((leading + 1) << shift) - 1;
}

void histogram_add(struct histogram *histogram, uint64_t value)
{
    uint64_t bounded = value < HISTOGRAM_VALUE_MAX ? value : HISTOGRAM_VALUE_MAX;
    size_t bucket = bucket_of(bounded);

    assert(bucket < HISTOGRAM_BUCKET_COUNT);
    histogram->buckets[bucket]++;
    histogram->count++;
    if (value > histogram->maximum) {
        histogram->maximum = value;
    }
}

void histogram_merge(struct histogram *histogram, const struct histogram *other)
{
    for (size_t i = 0; i < HISTOGRAM_BUCKET_COUNT; i++) {
        histogram->buckets[i] += other->buckets[i];
    }
    histogram->count += other->count;
    if (other->maximum > histogram->maximum) {
        histogram->maximum = other->maximum;
    }
}

uint64_t histogram_percentile(const struct histogram *histogram, uint32_t parts_per_million)
{
    uint64_t seen = 0;
    uint64_t wanted = 0;

    assert(parts_per_million <= 1000000);
    if (histogram->count == 0) {
        return 0;
    }
    /* Rounded up, and split so that the product cannot overflow. */
    wanted = histogram->count / 1000000 * parts_per_million +
             (histogram->count % 1000000 * parts_per_million + 999999) / 1000000;
    for (size_t i = 0; i < HISTOGRAM_BUCKET_COUNT; i++) {
        seen += histogram->buckets[i];
        if (seen >= wanted && seen > 0) {
            uint64_t end = bucket_end(i);
            return end < histogram->maximum ? end : histogram->maximum;
        }
    }
    return histogram->maximum;
}
