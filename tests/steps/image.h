/*
 * The image of a world: every byte that a killed process leaves behind, which is
 * the files of shared memory and the log. It can be compared with what is there
 * now, taken, and laid out again in another directory for a survivor to run on.
 *
 * Compared at each instruction is what the party that is stepped can reach: for a
 * broker not the arenas, for nobody the pages of lanes that do not exist; the log
 * only by its count, for it is written in calls that are stepped over.
 * image_differs_anywhere() shows at the end that nothing else has changed.
 */
#ifndef TESTS_STEPS_IMAGE_H
#define TESTS_STEPS_IMAGE_H

#include <sys/stat.h>

#include "tests/steps/world.h"

enum {
    IMAGE_FILES_MAX = 16,
    IMAGE_NAME_BYTES = 32
};

struct image_file {
    char name[IMAGE_NAME_BYTES]; /* "": this place is free */
    struct stat stat;
    uint8_t *live; /* as it is now; NULL while the file is empty */
    uint8_t *copy; /* as it was taken */
    size_t watched_bytes;
    bool is_seen;
};

struct image {
    struct world *world;
    bool watches_arenas;
    struct image_file files[IMAGE_FILES_MAX];
    struct world_log *log; /* as it was taken */
};

/* Looks for the files and takes them. */
void image_open(struct image *image, struct world *world, bool watches_arenas);

/* Looks which files there are now. True: others than before; take the image. */
bool image_scan(struct image *image);

bool image_differs(const struct image *image);
bool image_differs_anywhere(const struct image *image);
void image_take(struct image *image);

/* Puts the bytes back into the files, where they are as many as when it was taken. */
void image_put_back(const struct image *image);

/*
 * In a child: lays the files out in a new directory, and maps them and the log
 * where the world has them, whose broker and producers go on there. Returns the
 * directory's descriptor; world->path is its path.
 */
int image_lay_out(const struct image *image);

/* In a child of a fork: maps the files of world->directory_fd where the world has
 * them, for such mappings are not inherited (shm/segment.h). */
void image_map_again(struct world *world, int directory_fd);

#endif
