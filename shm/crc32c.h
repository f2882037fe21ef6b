/*
 * CRC32C (Castagnoli; the polynomial of iSCSI, ext4 and RocksDB): guards lane
 * records, log records and the anchor against torn and damaged bytes. It is no
 * protection against an author who means harm: hashes do that (codec/).
 *
 * The processor's own instruction is used where it has one (SSE4.2, ARMv8 CRC),
 * chosen at the first call; a table otherwise, with equal results.
 * Threads: any.
 */
#ifndef ES_SHM_CRC32C_H
#define ES_SHM_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/*
 * The CRC32C of 'size' bytes (0 allowed) that follow bytes whose CRC32C is
 * 'seed'; 0 at the beginning. es_crc32c(es_crc32c(0, a), b) is that of a
 * followed by b. The CRC32C of "123456789" is 0xe3069283.
 */
uint32_t es_crc32c(uint32_t seed, const void *data, size_t size);

/* The table alone: what a processor without the instruction gets. For tests. */
uint32_t es_crc32c_table(uint32_t seed, const void *data, size_t size);

#endif
