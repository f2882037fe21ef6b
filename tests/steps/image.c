#include "tests/steps/image.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "broker/lanes_state.h"

/* Header, ring entries and the first lanes of the control page. */
#define WATCHED_CONTROL_BYTES 8192u

static size_t watched_bytes(const struct image *image, const struct image_file *file)
{
    size_t size = (size_t)file->stat.st_size;
    size_t watched = size;

    if (strcmp(file->name, LANES_CONTROL_NAME) == 0) {
        watched = WATCHED_CONTROL_BYTES;
    } else if (strncmp(file->name, "lane-", 5) == 0 && !image->watches_arenas) {
        watched = es_lane_bytes(0, image->world->geometry.credit_count);
    }
    return watched < size ? watched : size;
}

static void forget(struct image_file *file)
{
    if (file->live != NULL) {
        munmap(file->live, (size_t)file->stat.st_size);
    }
    free(file->copy);
    memset(file, 0, sizeof *file);
}

static void look_at(const struct image *image, struct image_file *file, const char *name,
                    const struct stat *stat)
{
    int fd = openat(image->world->directory_fd, name, O_RDONLY | O_CLOEXEC);

    forget(file);
    world_require(fd >= 0 && strlen(name) < sizeof file->name, "a file can be looked at");
    snprintf(file->name, sizeof file->name, "%s", name);
    file->stat = *stat;
    if (stat->st_size > 0) {
        close(fd);
        fd = openat(image->world->directory_fd, name, O_RDWR | O_CLOEXEC);
        file->live = mmap(NULL, (size_t)stat->st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        file->copy = malloc((size_t)stat->st_size);
        world_require(file->live != MAP_FAILED && file->copy != NULL, "memory");
    }
    file->watched_bytes = watched_bytes(image, file);
    close(fd);
}

static struct image_file *find(struct image *image, const char *name)
{
    struct image_file *free_place = NULL;

    for (uint32_t i = 0; i < IMAGE_FILES_MAX; i++) {
        if (strcmp(image->files[i].name, name) == 0) {
            return &image->files[i];
        }
        if (free_place == NULL && image->files[i].name[0] == '\0') {
            free_place = &image->files[i];
        }
    }
    world_require(free_place != NULL, "few files");
    return free_place;
}

bool image_scan(struct image *image)
{
    int fd = openat(image->world->directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fdopendir(fd);
    const struct dirent *entry = NULL;
    bool is_other = false;

    world_require(directory != NULL, "the directory can be read");
    while ((entry = readdir(directory)) != NULL) {
        struct stat now;
        struct image_file *file = NULL;

        if (entry->d_name[0] == '.' ||
            fstatat(image->world->directory_fd, entry->d_name, &now, AT_SYMLINK_NOFOLLOW) != 0) {
            continue;
        }
        file = find(image, entry->d_name);
        if (file->name[0] == '\0' || file->stat.st_ino != now.st_ino ||
            file->stat.st_size != now.st_size || file->stat.st_mode != now.st_mode) {
            look_at(image, file, entry->d_name, &now);
            is_other = true;
        }
        file->is_seen = true;
    }
    closedir(directory);
    for (uint32_t i = 0; i < IMAGE_FILES_MAX; i++) {
        if (image->files[i].name[0] != '\0' && !image->files[i].is_seen) {
            forget(&image->files[i]);
            is_other = true;
        }
        image->files[i].is_seen = false;
    }
    return is_other;
}

void image_open(struct image *image, struct world *world, bool watches_arenas)
{
    memset(image, 0, sizeof *image);
    image->world = world;
    image->watches_arenas = watches_arenas;
    image->log = malloc(sizeof *image->log);
    world_require(image->log != NULL, "memory");
    (void)image_scan(image);
    image_take(image);
}

bool image_differs(const struct image *image)
{
    for (uint32_t i = 0; i < IMAGE_FILES_MAX; i++) {
        const struct image_file *file = &image->files[i];

        if (file->live != NULL && memcmp(file->live, file->copy, file->watched_bytes) != 0) {
            return true;
        }
    }
    return image->log->count != image->world->log->count ||
           image->log->told_count != image->world->log->told_count;
}

bool image_differs_anywhere(const struct image *image)
{
    for (uint32_t i = 0; i < IMAGE_FILES_MAX; i++) {
        const struct image_file *file = &image->files[i];

        if (file->live != NULL && memcmp(file->live, file->copy, (size_t)file->stat.st_size) != 0) {
            return true;
        }
    }
    return memcmp(image->log, image->world->log, sizeof *image->log) != 0;
}

void image_take(struct image *image)
{
    for (uint32_t i = 0; i < IMAGE_FILES_MAX; i++) {
        const struct image_file *file = &image->files[i];

        if (file->live != NULL) {
            memcpy(file->copy, file->live, (size_t)file->stat.st_size);
        }
    }
    if (image->log->count != image->world->log->count || image->log->count == 0 ||
        image->log->told_count != image->world->log->told_count) {
        memcpy(image->log, image->world->log, sizeof *image->log);
    }
}

void image_put_back(const struct image *image)
{
    for (uint32_t i = 0; i < IMAGE_FILES_MAX; i++) {
        const struct image_file *file = &image->files[i];

        if (file->live != NULL) {
            memcpy(file->live, file->copy, (size_t)file->stat.st_size);
        }
    }
    memcpy(image->world->log, image->log, sizeof *image->log);
}

static void write_file(int directory_fd, const struct image_file *file)
{
    int fd = openat(directory_fd, file->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    size_t size = (size_t)file->stat.st_size;

    world_require(fd >= 0 && fchmod(fd, file->stat.st_mode & 07777) == 0, "a file is laid out");
    world_require(size == 0 || write(fd, file->copy, size) == (ssize_t)size, "a file is filled");
    close(fd);
}

static void map_again(struct es_segment *segment, int directory_fd, const char *name)
{
    struct stat stat;
    int fd = -1;

    if (segment->base == NULL) {
        return;
    }
    fd = openat(directory_fd, name, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return; /* it was taken away: nobody may look there */
    }
    world_require(fstat(fd, &stat) == 0, "a file is there");
    if ((size_t)stat.st_size == segment->size) {
        void *base = mmap(segment->base, segment->size, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_FIXED, fd, 0);

        world_require(base == segment->base, "a mapping where it was");
    }
    segment->fd = fd;
}

void image_map_again(struct world *world, int directory_fd)
{
    struct lanes *lanes = world->broker.lanes;
    char name[LANES_FILE_NAME_BYTES];

    map_again(&lanes->control_segment, directory_fd, LANES_CONTROL_NAME);
    for (uint32_t i = 0; i < ES_RING_COUNT_MAX; i++) {
        if (lanes->rings[i].is_open) {
            lanes_ring_name(lanes->rings[i].uid, name);
            map_again(&lanes->rings[i].segment, directory_fd, name);
        }
    }
    for (uint32_t i = 0; i < ES_LANE_COUNT_MAX; i++) {
        if (lanes->lanes[i].is_open) {
            lanes_lane_name(i, name);
            map_again(&lanes->lanes[i].segment, directory_fd, name);
        }
    }
    for (uint32_t i = 0; i < world->producer_count; i++) {
        struct world_producer *producer = &world->producers[i];

        if (producer->is_attached) {
            lanes_ring_name(geteuid(), name);
            map_again(&producer->ring_segment, directory_fd, name);
            lanes_lane_name(producer->attachment.lane_index, name);
            map_again(&producer->lane_segment, directory_fd, name);
        }
    }
}

int image_lay_out(const struct image *image)
{
    struct world *world = image->world;
    void *log = NULL;
    int directory_fd = -1;

    temp_directory_make(world->path);
    directory_fd = open(world->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    world_require(directory_fd >= 0, "a directory");
    for (uint32_t i = 0; i < IMAGE_FILES_MAX; i++) {
        if (image->files[i].name[0] != '\0') {
            write_file(directory_fd, &image->files[i]);
        }
    }
    log = mmap(world->log, sizeof *world->log, PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    world_require(log == world->log, "the log where it was");
    memcpy(world->log, image->log, sizeof *world->log);
    image_map_again(world, directory_fd);
    world->broker.lanes->directory_fd = directory_fd;
    return directory_fd;
}
