// SPDX-License-Identifier: Apache-2.0
// A database with read models, for who has no definition at hand: what is in it, and wishes to whoever runs
// it.
//
// Each call opens nothing of its own: the handle is one connection, which writes only where a wish is left or
// a projection dropped.
#include <string.h>

#include "base/error.h"
#include "projection/runner.h"

struct daybook_read_model {
    const daybook_allocator *allocator;
    daybook_vfs *vfs;
    dbk_target *target;
};

daybook_status daybook_read_model_open(const char *database, const daybook_allocator *allocator,
                                       daybook_read_model **model_out, daybook_error *error) {
    if (model_out == NULL || database == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE, "no database or no room given");
    *model_out = NULL;
    if (allocator == NULL) allocator = dbk_allocator_default();
    daybook_read_model *model = dbk_alloc_zeroed(allocator, sizeof *model);
    if (model == NULL) return dbk_fail(error, DAYBOOK_ENOMEM, "out of memory for a read model");
    model->allocator = allocator;
    model->vfs = daybook_vfs_posix();
    dbk_target_options options = {.allocator = allocator, .vfs = model->vfs, .must_exist = true};
    daybook_status status = dbk_target_open(database, &options, &model->target, error);
    if (status != DAYBOOK_OK) {
        dbk_free(allocator, model);
        return status;
    }
    *model_out = model;
    return DAYBOOK_OK;
}

void daybook_read_model_close(daybook_read_model *model) {
    if (model == NULL) return;
    model->target->calls->close(model->target);
    dbk_free(model->allocator, model);
}

// Listing.

typedef struct listed {
    struct listed *next;
    dbk_progress progress;
} listed;

typedef struct listing {
    const daybook_allocator *allocator;
    listed *first;
    listed **last_link;
    bool failed;
} listing;

static int keep(void *context, const dbk_progress *progress) {
    listing *list = context;
    listed *item = dbk_alloc(list->allocator, sizeof *item);
    if (item == NULL) {
        list->failed = true;
        return 1;
    }
    item->next = NULL;
    item->progress = *progress;
    *list->last_link = item;
    list->last_link = &item->next;
    return 0;
}

static int count_one(void *context, const dbk_parked *parked) {
    (void)parked;
    ++*(uint64_t *)context;
    return 0;
}

static daybook_status show(daybook_read_model *model, const dbk_progress *progress,
                           int (*visit)(void *context, const daybook_projection_info *info), void *context,
                           bool *is_over_out, daybook_error *error) {
    daybook_projection_info info = {.size = sizeof info,
                                    .name = progress->name,
                                    .version = progress->version,
                                    .state = progress->state,
                                    .position = progress->position,
                                    .event_count = progress->event_count,
                                    .updated_ns = progress->updated_ns,
                                    .instance = progress->instance,
                                    .error = progress->error};
    daybook_error wrong;
    daybook_error_init(&wrong);
    if (dbk_history_check_row(progress, &wrong) != DAYBOOK_OK) {
        info.position = 0;
        info.error = wrong.message;
    }
    DBK_TRY(model->target->calls->parked(model->target, progress->name, daybook_text(NULL), count_one,
                                         &info.parked_count, error));
    *is_over_out = visit(context, &info) != 0;
    return DAYBOOK_OK;
}

daybook_status daybook_read_model_list(daybook_read_model *model,
                                       int (*visit)(void *context, const daybook_projection_info *info),
                                       void *context, daybook_error *error) {
    if (model == NULL || visit == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE, "no read model or no visitor given");
    listing list = {.allocator = model->allocator};
    list.last_link = &list.first;
    daybook_status status = model->target->calls->list(model->target, keep, &list, error);
    if (status == DAYBOOK_OK && list.failed)
        status = dbk_fail(error, DAYBOOK_ENOMEM, "out of memory for a list");
    bool is_over = false;
    while (list.first != NULL) {
        listed *item = list.first;
        if (status == DAYBOOK_OK && !is_over)
            status = show(model, &item->progress, visit, context, &is_over, error);
        list.first = item->next;
        dbk_free(model->allocator, item);
    }
    return status;
}

// Wishes.

static daybook_status check(const daybook_read_model *model, const char *name, daybook_error *error) {
    if (model == NULL || name == NULL)
        return dbk_fail(error, DAYBOOK_EMISUSE, "no read model or no name given");
    return DAYBOOK_OK;
}

static daybook_status set_state(daybook_read_model *model, const char *name, int state,
                                daybook_error *error) {
    DBK_TRY(check(model, name, error));
    return model->target->calls->set_state(model->target, name, state, "",
                                           model->vfs->clock_real_ns(model->vfs), error);
}

daybook_status daybook_read_model_pause(daybook_read_model *model, const char *name, daybook_error *error) {
    return set_state(model, name, DAYBOOK_PROJECTION_PAUSED, error);
}

daybook_status daybook_read_model_resume(daybook_read_model *model, const char *name, daybook_error *error) {
    return set_state(model, name, DAYBOOK_PROJECTION_LIVE, error);
}

daybook_status daybook_read_model_drop(daybook_read_model *model, const char *name, daybook_error *error) {
    DBK_TRY(check(model, name, error));
    const dbk_target_calls *calls = model->target->calls;
    dbk_progress known;
    DBK_TRY(calls->load(model->target, name, &known, error));
    DBK_TRY(calls->claim(model->target, name, "drop", model->vfs->clock_real_ns(model->vfs), error));
    daybook_status status = calls->drop(model->target, name, NULL, error);
    calls->release(model->target);
    return status;
}

typedef struct showing {
    int (*visit)(void *context, const daybook_parked_event *event);
    void *context;
} showing;

static int show_parked(void *context, const dbk_parked *parked) {
    const showing *to = context;
    daybook_parked_event event = {.size = sizeof event,
                                  .position = parked->position,
                                  .stream = parked->stream,
                                  .subject = parked->subject,
                                  .error = parked->error,
                                  .attempt_count = parked->attempt_count,
                                  .parked_ns = parked->parked_ns,
                                  .behind = parked->behind,
                                  .request = (int)parked->request};
    return to->visit(to->context, &event);
}

daybook_status daybook_read_model_parked(daybook_read_model *model, const char *name,
                                         int (*visit)(void *context, const daybook_parked_event *event),
                                         void *context, daybook_error *error) {
    DBK_TRY(check(model, name, error));
    if (visit == NULL) return dbk_fail(error, DAYBOOK_EMISUSE, "no visitor given");
    dbk_progress known;
    DBK_TRY(model->target->calls->load(model->target, name, &known, error));
    showing to = {.visit = visit, .context = context};
    return model->target->calls->parked(model->target, name, daybook_text(NULL), show_parked, &to, error);
}

daybook_status daybook_read_model_retry(daybook_read_model *model, const char *name, uint64_t position,
                                        daybook_error *error) {
    DBK_TRY(check(model, name, error));
    return model->target->calls->request(model->target, name, position, DBK_REQUEST_RETRY, error);
}

daybook_status daybook_read_model_skip(daybook_read_model *model, const char *name, uint64_t position,
                                       daybook_error *error) {
    DBK_TRY(check(model, name, error));
    return model->target->calls->request(model->target, name, position, DBK_REQUEST_SKIP, error);
}
