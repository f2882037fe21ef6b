#include "tests/simulation/sim_shared.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/control.h"
#include "shm/fault.h"
#include "shm/lane_reader.h"
#include "shm/ring.h"
#include "shm/segment.h"
#include "tests/simulation/sim.h"
#include "tests/simulation/sim_fiber.h"
#include "tests/simulation/sim_model.h"

enum {
    FILES_MAX = 96,
    NAME_BYTES = 32,
    FILE_BYTES = 128 * 1024
};

struct shared_file {
    char name[NAME_BYTES]; /* "": it has none, but may still be mapped */
    uint8_t *base;
    size_t size;
    uint32_t broker_maps;
    uint32_t other_maps;
};

static struct shared_file files[FILES_MAX];
static bool is_full_now;

void sim_shared_clear(void)
{
    for (int i = 0; i < FILES_MAX; i++) {
        files[i].name[0] = '\0';
        files[i].broker_maps = 0;
        files[i].other_maps = 0;
    }
    is_full_now = false;
}

void sim_shared_drop_broker(void)
{
    for (int i = 0; i < FILES_MAX; i++) {
        files[i].broker_maps = 0;
    }
}

void sim_shared_set_full(bool is_full)
{
    is_full_now = is_full;
}

static int find(const char *name)
{
    for (int i = 0; i < FILES_MAX; i++) {
        if (strcmp(files[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

static bool is_ours(int fd)
{
    return fd > SIM_SHARED_DIRECTORY && fd <= SIM_SHARED_DIRECTORY + FILES_MAX;
}

static void map(int index, struct es_segment *ret_segment)
{
    struct shared_file *file = &files[index];

    *(sim_fiber_inside() ? &file->broker_maps : &file->other_maps) += 1;
    *ret_segment = (struct es_segment){
        .base = file->base, .size = file->size, .fd = SIM_SHARED_DIRECTORY + 1 + index};
}

static int find_unused(void)
{
    for (int i = 0; i < FILES_MAX; i++) {
        if (files[i].name[0] == '\0' && files[i].broker_maps == 0 && files[i].other_maps == 0) {
            return i;
        }
    }
    (void)fprintf(stderr, "simulation: too many shared files\n");
    abort();
}

enum es_status __wrap_es_segment_create(int directory_fd, const char *name, size_t size,
                                        mode_t mode, gid_t group, struct es_segment *ret_segment);
enum es_status __wrap_es_segment_create(int directory_fd, const char *name, size_t size,
                                        mode_t mode, gid_t group, struct es_segment *ret_segment)
{
    int index = find(name);

    (void)directory_fd;
    (void)mode;
    (void)group;
    if (is_full_now) {
        sim.has_failed = true;
        return ES_NO_SPACE;
    }
    if (index >= 0) {
        files[index].name[0] = '\0'; /* replaced, never used again */
    }
    index = find_unused();
    if (size > FILE_BYTES) {
        abort();
    }
    if (files[index].base == NULL) {
        files[index].base =
            mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (files[index].base == MAP_FAILED) {
            abort();
        }
    }
    memset(files[index].base, 0, size);
    (void)snprintf(files[index].name, NAME_BYTES, "%s", name);
    files[index].size = size;
    map(index, ret_segment);
    return ES_OK;
}

enum es_status __wrap_es_segment_open(int directory_fd, const char *name, size_t size, uid_t owner,
                                      mode_t mode, bool writable, struct es_segment *ret_segment);
enum es_status __wrap_es_segment_open(int directory_fd, const char *name, size_t size, uid_t owner,
                                      mode_t mode, bool writable, struct es_segment *ret_segment)
{
    int index = find(name);

    (void)directory_fd;
    (void)owner;
    (void)mode;
    (void)writable;
    if (index < 0) {
        return ES_NOT_FOUND;
    }
    if (files[index].size != size) {
        return ES_E_CORRUPT;
    }
    map(index, ret_segment);
    return ES_OK;
}

enum es_status __wrap_es_segment_map(int fd, size_t size, bool writable,
                                     struct es_segment *ret_segment);
enum es_status __wrap_es_segment_map(int fd, size_t size, bool writable,
                                     struct es_segment *ret_segment)
{
    (void)writable;
    if (!is_ours(fd) || files[fd - SIM_SHARED_DIRECTORY - 1].size != size) {
        return ES_E_PROTOCOL;
    }
    map(fd - SIM_SHARED_DIRECTORY - 1, ret_segment);
    return ES_OK;
}

enum es_status __wrap_es_segment_reopen_readonly(int directory_fd, const char *name,
                                                 const struct es_segment *segment, int *ret_fd);
enum es_status __wrap_es_segment_reopen_readonly(int directory_fd, const char *name,
                                                 const struct es_segment *segment, int *ret_fd)
{
    (void)directory_fd;
    (void)name;
    *ret_fd = segment->fd;
    return ES_OK;
}

void __wrap_es_segment_unmap(struct es_segment *segment);
void __wrap_es_segment_unmap(struct es_segment *segment)
{
    if (segment->base != NULL && is_ours(segment->fd)) {
        struct shared_file *file = &files[segment->fd - SIM_SHARED_DIRECTORY - 1];
        uint32_t *maps = sim_fiber_inside() ? &file->broker_maps : &file->other_maps;

        *maps -= *maps > 0 ? 1 : 0;
    }
    *segment = ES_SEGMENT_NONE;
}

enum es_status __wrap_es_segment_remove(int directory_fd, const char *name);
enum es_status __wrap_es_segment_remove(int directory_fd, const char *name)
{
    int index = find(name);

    (void)directory_fd;
    if (index < 0) {
        return ES_NOT_FOUND;
    }
    files[index].name[0] = '\0';
    return ES_OK;
}

/* ---- stores that others see one after the other ---------------------------------- */

static void pass_point(void)
{
    if (sim_point(CALL_SHARED) == VERDICT_KILL_AFTER) {
        sim_kill(); /* before or after is the same: the next one passes here too */
    }
}

void __real_es_control_set_cursor(struct es_control *control, uint32_t index, uint64_t cursor);
void __wrap_es_control_set_cursor(struct es_control *control, uint32_t index, uint64_t cursor);
void __wrap_es_control_set_cursor(struct es_control *control, uint32_t index, uint64_t cursor)
{
    pass_point();
    __real_es_control_set_cursor(control, index, cursor);
}

void __real_es_control_advance_lane(struct es_control *control, uint32_t index,
                                    uint64_t last_sequence, uint32_t next_offset);
void __wrap_es_control_advance_lane(struct es_control *control, uint32_t index,
                                    uint64_t last_sequence, uint32_t next_offset);
void __wrap_es_control_advance_lane(struct es_control *control, uint32_t index,
                                    uint64_t last_sequence, uint32_t next_offset)
{
    pass_point();
    __real_es_control_advance_lane(control, index, last_sequence, next_offset);
}

void __real_es_control_set_head(struct es_control *control, const struct es_control_head *head);
void __wrap_es_control_set_head(struct es_control *control, const struct es_control_head *head);
void __wrap_es_control_set_head(struct es_control *control, const struct es_control_head *head)
{
    pass_point();
    __real_es_control_set_head(control, head);
    model_paged(head->commit_number);
    pass_point();
}

void __real_es_control_set_lane(struct es_control *control, uint32_t index,
                                const struct es_control_lane *lane);
void __wrap_es_control_set_lane(struct es_control *control, uint32_t index,
                                const struct es_control_lane *lane);
void __wrap_es_control_set_lane(struct es_control *control, uint32_t index,
                                const struct es_control_lane *lane)
{
    pass_point();
    __real_es_control_set_lane(control, index, lane);
}

void __real_es_ring_free(struct es_ring_reader *reader, uint64_t cursor);
void __wrap_es_ring_free(struct es_ring_reader *reader, uint64_t cursor);
void __wrap_es_ring_free(struct es_ring_reader *reader, uint64_t cursor)
{
    pass_point();
    __real_es_ring_free(reader, cursor);
    pass_point();
}

void __real_es_lane_ack(struct es_lane_reader *reader, uint64_t sequence);
void __wrap_es_lane_ack(struct es_lane_reader *reader, uint64_t sequence);
void __wrap_es_lane_ack(struct es_lane_reader *reader, uint64_t sequence)
{
    pass_point();
    __real_es_lane_ack(reader, sequence);
}

void __real_es_lane_wake(struct es_lane_reader *reader);
void __wrap_es_lane_wake(struct es_lane_reader *reader);
void __wrap_es_lane_wake(struct es_lane_reader *reader)
{
    pass_point();
    __real_es_lane_wake(reader);
}

/* ---- descriptors ----------------------------------------------------------- */

int __wrap_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...)
{
    (void)command; /* F_DUPFD_CLOEXEC: one descriptor a file is enough here */
    return is_ours(fd) ? fd : -1;
}

int __wrap_fstat(int fd, struct stat *ret_about);
int __wrap_fstat(int fd, struct stat *ret_about)
{
    if (!is_ours(fd)) {
        return -1;
    }
    memset(ret_about, 0, sizeof *ret_about);
    ret_about->st_size = (off_t)files[fd - SIM_SHARED_DIRECTORY - 1].size;
    return 0;
}

int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd)
{
    return is_ours(fd) ? 0 : __real_close(fd);
}

/* No memory is taken away here. */
enum es_status __wrap_es_fault_watch(const struct es_segment *segment, uint32_t *ret_index);
enum es_status __wrap_es_fault_watch(const struct es_segment *segment, uint32_t *ret_index)
{
    (void)segment;
    *ret_index = 0;
    return ES_OK;
}

void __wrap_es_fault_forget(uint32_t index);
void __wrap_es_fault_forget(uint32_t index)
{
    (void)index;
}

bool __wrap_es_fault_was_hit(uint32_t index);
bool __wrap_es_fault_was_hit(uint32_t index)
{
    (void)index;
    return false;
}
