#include "tools/examples/permits_model/state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*   permits_model 1 EPOCH POSITION STEPS CASES
 *   EVENTS WAITS WAIT_MS NAME          once for each step
 *   STEP TICK STREAM                   once for each case
 *   end                                                        */
#define LINE_BYTES_MAX 2048

static enum state_result read_steps(FILE *in, struct model *model, size_t count)
{
    char line[LINE_BYTES_MAX];

    for (size_t i = 0; i < count; i++) {
        struct model_step read = {0};
        size_t index = 0;
        int name_at = 0;

        if (fgets(line, sizeof line, in) == NULL) {
            return STATE_E_DAMAGED;
        }
        line[strcspn(line, "\n")] = '\0';
        if (sscanf(line, "%" SCNu64 " %" SCNu64 " %" SCNd64 " %n", &read.event_count, &read.waits,
                   &read.wait_ms, &name_at) != 3 ||
            name_at == 0) {
            return STATE_E_DAMAGED;
        }
        if (!model_step_index(model, line + name_at, &index)) {
            return STATE_E_IO;
        }
        if (index != i) {
            return STATE_E_DAMAGED;
        }
        model->steps[i].event_count = read.event_count;
        model->steps[i].waits = read.waits;
        model->steps[i].wait_ms = read.wait_ms;
    }
    return STATE_OK;
}

static enum state_result read_cases(FILE *in, struct model *model, size_t count)
{
    char line[LINE_BYTES_MAX];

    for (size_t i = 0; i < count; i++) {
        size_t step = 0;
        uint64_t tick = 0;
        int stream_at = 0;

        if (fgets(line, sizeof line, in) == NULL) {
            return STATE_E_DAMAGED;
        }
        line[strcspn(line, "\n")] = '\0';
        if (sscanf(line, "%zu %" SCNu64 " %n", &step, &tick, &stream_at) != 2 || stream_at == 0 ||
            step >= model->step_count) {
            return STATE_E_DAMAGED;
        }
        if (!model_case_put(model, line + stream_at, step, tick)) {
            return STATE_E_IO;
        }
    }
    if (fgets(line, sizeof line, in) == NULL || strcmp(line, "end\n") != 0) {
        return STATE_E_DAMAGED;
    }
    return STATE_OK;
}

enum state_result state_load(const char *path, struct model *model)
{
    FILE *in = fopen(path, "re");
    enum state_result result = STATE_E_DAMAGED;
    char line[LINE_BYTES_MAX];
    size_t step_count = 0;
    size_t case_count = 0;

    if (in == NULL) {
        return errno == ENOENT ? STATE_NONE : STATE_E_IO;
    }
    if (fgets(line, sizeof line, in) != NULL &&
        sscanf(line, "permits_model 1 %" SCNu64 " %" SCNu64 " %zu %zu", &model->epoch,
               &model->position, &step_count, &case_count) == 4) {
        result = read_steps(in, model, step_count);
        if (result == STATE_OK) {
            result = read_cases(in, model, case_count);
        }
    }
    fclose(in);
    return result;
}

static void write_case(const struct model_case *one, void *context)
{
    fprintf(context, "%zu %" PRIu64 " %s\n", one->step, one->tick, one->stream);
}

static bool write_model(FILE *out, const struct model *model)
{
    fprintf(out, "permits_model 1 %" PRIu64 " %" PRIu64 " %zu %zu\n", model->epoch, model->position,
            model->step_count, model->case_count);
    for (size_t i = 0; i < model->step_count; i++) {
        fprintf(out, "%" PRIu64 " %" PRIu64 " %" PRId64 " %s\n", model->steps[i].event_count,
                model->steps[i].waits, model->steps[i].wait_ms, model->steps[i].name);
    }
    model_cases(model, write_case, out);
    fputs("end\n", out);
    return fflush(out) == 0 && ferror(out) == 0 && fdatasync(fileno(out)) == 0;
}

/* The new name is durable only once its directory is. */
static bool sync_directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char directory[PATH_MAX];
    bool synced;
    int fd;

    snprintf(directory, sizeof directory, "%.*s", slash == NULL ? 1 : (int)(slash - path) + 1,
             slash == NULL ? "." : path);
    fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    synced = fsync(fd) == 0;
    close(fd);
    return synced;
}

enum state_result state_save(const char *path, const struct model *model)
{
    char path_new[PATH_MAX];
    bool written;
    FILE *out;

    if (snprintf(path_new, sizeof path_new, "%s.new", path) >= (int)sizeof path_new) {
        errno = ENAMETOOLONG;
        return STATE_E_IO;
    }
    out = fopen(path_new, "we");
    if (out == NULL) {
        return STATE_E_IO;
    }
    written = write_model(out, model);
    if (fclose(out) != 0 || !written || rename(path_new, path) != 0) {
        return STATE_E_IO;
    }
    return sync_directory_of(path) ? STATE_OK : STATE_E_IO;
}
