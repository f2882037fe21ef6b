#include "tools/examples/permits_model/model.h"

#include <inttypes.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

static int case_compare(const void *left, const void *right)
{
    return strcmp(((const struct model_case *)left)->stream,
                  ((const struct model_case *)right)->stream);
}

static void case_free(void *node)
{
    struct model_case *one = node;

    free(one->stream);
    free(one);
}

void model_init(struct model *model)
{
    memset(model, 0, sizeof *model);
}

void model_deinit(struct model *model)
{
    tdestroy(model->cases, case_free);
    for (size_t i = 0; i < model->step_count; i++) {
        free(model->steps[i].name);
    }
    model_init(model);
}

bool model_step_index(struct model *model, const char *name, size_t *ret_index)
{
    bool last_free = model->step_count == MODEL_STEP_COUNT_MAX - 1;
    char *copy;

    for (size_t i = 0; i < model->step_count; i++) {
        if (strcmp(model->steps[i].name, name) == 0) {
            *ret_index = i;
            return true;
        }
    }
    if (model->step_count == MODEL_STEP_COUNT_MAX) {
        *ret_index = MODEL_STEP_COUNT_MAX - 1;
        return true;
    }
    copy = strdup(last_free ? "(all others)" : name);
    if (copy == NULL) {
        return false;
    }
    model->steps[model->step_count].name = copy;
    *ret_index = model->step_count++;
    return true;
}

static struct model_case *case_find(const struct model *model, const char *stream)
{
    struct model_case key = {.stream = (char *)(uintptr_t)stream}; /* compared, never changed */
    struct model_case **node = tfind(&key, &model->cases, case_compare);

    return node == NULL ? NULL : *node;
}

bool model_case_put(struct model *model, const char *stream, size_t step, uint64_t tick)
{
    struct model_case *one = calloc(1, sizeof *one);

    if (one == NULL) {
        return false;
    }
    one->stream = strdup(stream);
    one->step = step;
    one->tick = tick;
    if (one->stream == NULL || tsearch(one, &model->cases, case_compare) == NULL) {
        case_free(one);
        return false;
    }
    model->steps[step].cases_here++;
    model->case_count++;
    return true;
}

bool model_apply(struct model *model, const char *stream, const char *type, uint64_t tick,
                 uint64_t position)
{
    struct model_case *one = case_find(model, stream);
    size_t step = 0;

    if (!model_step_index(model, type, &step)) {
        return false;
    }
    if (one == NULL) {
        if (!model_case_put(model, stream, step, tick)) {
            return false;
        }
    } else {
        model->steps[step].waits++;
        model->steps[step].wait_ms += (int64_t)tick - (int64_t)one->tick;
        model->steps[one->step].cases_here--;
        model->steps[step].cases_here++;
        one->step = step;
        one->tick = tick;
    }
    model->steps[step].event_count++;
    model->position = position;
    return true;
}

struct visit {
    model_case_visitor *visit;
    void *context;
};

static void visit_node(const void *node, VISIT order, void *context)
{
    const struct visit *visit = context;

    if (order == postorder || order == leaf) {
        visit->visit(*(struct model_case *const *)node, visit->context);
    }
}

void model_cases(const struct model *model, model_case_visitor *visit, void *context)
{
    struct visit both = {visit, context};

    twalk_r(model->cases, visit_node, &both);
}

static int step_compare(const void *left, const void *right)
{
    const struct model_step *a = left;
    const struct model_step *b = right;

    if (a->event_count != b->event_count) {
        return a->event_count < b->event_count ? 1 : -1;
    }
    return strcmp(a->name, b->name);
}

void model_print(const struct model *model, FILE *out)
{
    struct model_step sorted[MODEL_STEP_COUNT_MAX]; /* names still owned by the model */
    uint64_t event_count = 0;

    for (size_t i = 0; i < model->step_count; i++) {
        sorted[i] = model->steps[i];
        event_count += sorted[i].event_count;
    }
    qsort(sorted, model->step_count, sizeof sorted[0], step_compare);
    fprintf(out, "%-52s %8s %10s %12s\n", "step", "done", "cases here", "hours after");
    for (size_t i = 0; i < model->step_count; i++) {
        const struct model_step *step = &sorted[i];

        fprintf(out, "%-52s %8" PRIu64 " %10" PRIu64, step->name, step->event_count,
                step->cases_here);
        if (step->waits > 0) {
            fprintf(out, " %12.1f\n", (double)step->wait_ms / (double)step->waits / 3600e3);
        } else {
            fprintf(out, " %12s\n", "-");
        }
    }
    fprintf(out, "%-52s %8" PRIu64 " %10zu\n", "all", event_count, model->case_count);
}
