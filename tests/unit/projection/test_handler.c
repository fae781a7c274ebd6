// SPDX-License-Identifier: Apache-2.0
// Projections as C functions: the same guarantees, with a function in the place of the SQL file's sections.
#include "read_model.h"

static const char setup[] = "CREATE TABLE order_totals (order_id TEXT PRIMARY KEY, customer TEXT, total "
                            "INTEGER NOT NULL, item_count INTEGER NOT"
                            " NULL, state TEXT NOT NULL);";

typedef struct handling {
    int call_count;
    daybook_status answer; // for events of type "odd"
    uint64_t row_count;
} handling;

static daybook_value text_of(const char *text) {
    daybook_value value = {.kind = DAYBOOK_VALUE_TEXT, .bytes = daybook_text(text)};
    return value;
}

static daybook_value number_of(int64_t number) {
    daybook_value value = {.kind = DAYBOOK_VALUE_INTEGER, .integer = number};
    return value;
}

static daybook_status handle(void *context, daybook_projection_transaction *transaction,
                             const daybook_recorded_event *event, daybook_error *error) {
    handling *of = context;
    char id[32], data[256];
    of->call_count++;
    snprintf(data, sizeof data, "%.*s", (int)event->event.data.size, (const char *)event->event.data.data);
    snprintf(id, sizeof id, "%.*s", (int)event->aggregate.size - 7, (const char *)event->aggregate.data + 7);
    daybook_value values[] = {text_of(id), text_of(""), number_of(0)};
    if (event->event.type.size == 3 && memcmp(event->event.type.data, "odd", 3) == 0) {
        snprintf(error->message, sizeof error->message, "this one is odd");
        return of->answer;
    }
    if (daybook_type_is(event, "placed")) {
        char customer[64] = "";
        const char *found = strstr(data, "\"customer\":\"");
        if (found != NULL) sscanf(found + 12, "%63[^\"]", customer);
        values[1] = text_of(customer);
        return daybook_projection_execute(transaction,
                                          "INSERT INTO order_totals VALUES ($1, $2, 0, 0, 'placed')", values,
                                          2, &of->row_count, error);
    }
    if (daybook_type_is(event, "paid"))
        return daybook_projection_execute(transaction,
                                          "UPDATE order_totals SET state = 'paid' WHERE order_id = $1",
                                          values, 1, &of->row_count, error);
    const char *price = strstr(data, "\"price\":");
    values[2] = number_of(price == NULL ? 0 : strtoll(price + 8, NULL, 10));
    return daybook_projection_execute(
        transaction,
        "UPDATE order_totals SET total = total + $3, item_count = item_count + 1 WHERE"
        " order_id = $1",
        values, 3, &of->row_count, error);
}

static daybook_projection *make(model *at, daybook_projection_handler handler, void *context) {
    static const daybook_slice filter = {"orders.>", 8};
    daybook_projection_definition definition;
    daybook_projection_definition_init(&definition);
    definition.name = "order_totals";
    definition.filters = &filter;
    definition.filter_count = 1;
    definition.setup = daybook_text(setup);
    definition.handler = handler;
    definition.context = context;
    daybook_projection *projection;
    assert_model_ok(at, daybook_projection_new(daybook_store_engine(at->store), &definition, at->database,
                                               &at->options, &projection, &at->error));
    return projection;
}

static void run(model *at, handling *of, daybook_status expected) {
    daybook_projection *projection = make(at, handle, of);
    daybook_status status = daybook_projection_run(projection, 0, &at->error);
    daybook_projection_free(projection);
    assert_model(at, status, expected);
}

static void rows_are_those_of_a_fold(void **context) {
    model *at = *context;
    handling of = {0};
    model_append_many(at, 1500, 100);
    model_append(at, "other.1.placed", "{}");
    run(at, &of, DAYBOOK_OK);
    model_compare_with_fold(at);
    assert_int_equal(of.call_count, 1500);
    assert_int_equal(of.row_count, 1);
    daybook_projection *projection = make(at, handle, &of);
    assert_model_ok(at, daybook_projection_rebuild(projection, &at->error));
    daybook_projection_free(projection);
    model_compare_with_fold(at);
}

static void what_it_refuses_is_parked(void **context) {
    model *at = *context;
    handling of = {.answer = DAYBOOK_EREFUSED};
    model_append(at, "orders.1.placed", "{}");
    model_append(at, "orders.1.odd", "{}");
    model_append(at, "orders.1.paid", "{}");
    model_append(at, "orders.2.placed", "{}");
    model_append(at, "orders.2.placed", "{}"); // refused by the database
    run(at, &of, DAYBOOK_OK);
    assert_asks(at, "SELECT group_concat(position || ':' || behind) FROM daybook_parked", "2:0,3:2,5:0");
    assert_asks(at, "SELECT error FROM daybook_parked WHERE position = 2", "this one is odd");
    assert_asks(at, "SELECT state FROM order_totals WHERE order_id = '1'", "placed");
    daybook_read_model *read_model;
    assert_model_ok(at, daybook_read_model_open(at->database, NULL, &read_model, &at->error));
    assert_model_ok(at, daybook_read_model_retry(read_model, "order_totals", 2, &at->error));
    daybook_read_model_close(read_model);
    of.answer = DAYBOOK_OK;
    run(at, &of, DAYBOOK_OK);
    assert_asks(at, "SELECT group_concat(position) FROM daybook_parked", "5");
    assert_asks(at, "SELECT state FROM order_totals WHERE order_id = '1'", "paid");
}

static void other_failures_of_it_end_the_run(void **context) {
    model *at = *context;
    handling of = {.answer = DAYBOOK_EIO};
    model_append(at, "orders.1.placed", "{}");
    model_append(at, "orders.1.odd", "{}");
    run(at, &of, DAYBOOK_EIO);
    assert_string_equal(at->error.message, "this one is odd");
    assert_asks(at, "SELECT position FROM daybook_projection", "0");
    of.answer = DAYBOOK_OK;
    run(at, &of, DAYBOOK_OK);
    assert_asks(at, "SELECT position FROM daybook_projection", "2");
}

// All parts of an event reach the handler, and all kinds of values the database.

static daybook_status store_all(void *context, daybook_projection_transaction *transaction,
                                const daybook_recorded_event *event, daybook_error *error) {
    (void)context;
    const daybook_event *e = &event->event;
    assert_int_equal(e->tag_count, 2);
    assert_int_equal(e->header_count, 1);
    daybook_value values[8];
    memset(values, 0, sizeof values);
    values[0] = (daybook_value){.kind = DAYBOOK_VALUE_NULL};
    values[1] = number_of(INT64_MIN);
    values[2] = (daybook_value){.kind = DAYBOOK_VALUE_REAL, .real = 0.1};
    values[3] = (daybook_value){.kind = DAYBOOK_VALUE_TEXT, .bytes = e->tags[1]};
    values[4] = (daybook_value){.kind = DAYBOOK_VALUE_BYTES, .bytes = e->data};
    values[5] = (daybook_value){.kind = DAYBOOK_VALUE_TIME, .integer = e->time_ns};
    values[6] = (daybook_value){.kind = DAYBOOK_VALUE_TEXT, .bytes = e->headers[0].value};
    values[7] = (daybook_value){.kind = DAYBOOK_VALUE_BYTES};
    return daybook_projection_execute(transaction,
                                      "INSERT INTO order_totals VALUES ($8, $7, $6, $5, $4, $3, $2, $1)",
                                      values, 8, NULL, error);
}

static void all_kinds_of_values_are_taken(void **context) {
    model *at = *context;
    daybook_slice tags[] = {daybook_text("a:1"), daybook_text("b:2")};
    daybook_header header = {daybook_text("Trace"), daybook_text("value of a header")};
    daybook_event event;
    daybook_event_init(&event);
    event.subject = daybook_text("orders.1.placed");
    event.data = daybook_bytes("\0\1\2", 3);
    event.tags = tags;
    event.tag_count = 2;
    event.headers = &header;
    event.header_count = 1;
    event.time_ns = 1000000000;
    assert_model_ok(at, daybook_append(at->store, &event, 1, NULL, NULL, &at->error));
    daybook_projection_definition definition;
    daybook_projection_definition_init(&definition);
    definition.name = "order_totals";
    definition.setup = daybook_text("CREATE TABLE order_totals (h BLOB, g, f, e, d, c, b, a);");
    definition.handler = store_all;
    daybook_projection *projection;
    assert_model_ok(at, daybook_projection_new(daybook_store_engine(at->store), &definition, at->database,
                                               &at->options, &projection, &at->error));
    assert_model_ok(at, daybook_projection_run(projection, 0, &at->error));
    daybook_projection_free(projection);
    assert_asks(
        at,
        "SELECT typeof(a) || b || ' ' || c || ' ' || d || ' ' || hex(e) || ' ' || f || ' ' || g || ' ' ||"
        " typeof(h) || length(h) FROM order_totals",
        "null-9223372036854775808 0.1 b:2 000102 1970-01-01T00:00:01.000000000Z value of a header blob0");
}

static daybook_status use_wrongly(void *context, daybook_projection_transaction *transaction,
                                  const daybook_recorded_event *event, daybook_error *error) {
    (void)event;
    daybook_value values[101];
    memset(values, 0, sizeof values);
    switch (*(int *)context) {
    case 0:
        return daybook_projection_execute(transaction, "SELECT $2", values, 1, NULL, error);
    case 1:
        return daybook_projection_execute(transaction, "SELECT $1", values, 101, NULL, error);
    case 2:
        return daybook_projection_execute(transaction, "SELEKT 1", NULL, 0, NULL, error);
    case 3:
        return daybook_projection_execute(transaction, NULL, NULL, 0, NULL, error);
    default:
        return daybook_projection_execute(transaction, "-- nothing", NULL, 0, NULL, error);
    }
}

static void wrong_use_ends_the_run_with_a_word(void **context) {
    model *at = *context;
    static const struct {
        daybook_status status;
        const char *word;
    } expected[] = {{DAYBOOK_EINVALID, "no value for $2"},
                    {DAYBOOK_ELIMIT, "at most 100"},
                    {DAYBOOK_EINVALID, "syntax error"},
                    {DAYBOOK_EMISUSE, "no transaction"}};
    model_append(at, "orders.1.placed", "{}");
    for (int i = 0; i < 4; i++) {
        daybook_projection *projection = make(at, use_wrongly, &i);
        daybook_status status = daybook_projection_run(projection, 0, &at->error);
        daybook_projection_free(projection);
        assert_model(at, status, expected[i].status);
        assert_non_null(strstr(at->error.message, expected[i].word));
        assert_asks(at, "SELECT count(*) FROM daybook_parked", "0");
    }
    int last = 4;
    daybook_projection *projection = make(at, use_wrongly, &last);
    assert_model_ok(at, daybook_projection_run(projection, 0, &at->error));
    daybook_projection_free(projection);
}

static daybook_status many_statements(void *context, daybook_projection_transaction *transaction,
                                      const daybook_recorded_event *event, daybook_error *error) {
    (void)context;
    (void)event;
    char sql[80];
    for (int i = 0; i < 300; i++) {
        snprintf(sql, sizeof sql, "UPDATE order_totals SET total = total + 1 WHERE %d = %d", i, i);
        daybook_status status = daybook_projection_execute(transaction, sql, NULL, 0, NULL, error);
        if (status != DAYBOOK_OK) return status;
    }
    return DAYBOOK_OK;
}

static void more_statements_than_are_kept_work(void **context) {
    model *at = *context;
    handling of = {0};
    model_append(at, "orders.1.placed", "{}");
    run(at, &of, DAYBOOK_OK);
    model_append(at, "orders.1.added", "{}");
    model_append(at, "orders.1.added", "{}");
    daybook_projection *projection = make(at, many_statements, NULL);
    assert_model_ok(at, daybook_projection_run(projection, 0, &at->error));
    daybook_projection_free(projection);
    assert_asks(at, "SELECT total FROM order_totals", "600");
}

static void definitions_and_options_are_checked(void **context) {
    model *at = *context;
    daybook_projection_definition definition;
    daybook_projection *projection;
    daybook_engine *engine = daybook_store_engine(at->store);
    daybook_projection_definition_init(&definition);
    assert_model(at, daybook_projection_new(engine, &definition, at->database, NULL, &projection, &at->error),
                 DAYBOOK_EINVALID);
    definition.handler = handle;
    assert_model(at, daybook_projection_new(engine, &definition, at->database, NULL, &projection, &at->error),
                 DAYBOOK_EINVALID);
    definition.name = "Capital";
    assert_model(at, daybook_projection_new(engine, &definition, at->database, NULL, &projection, &at->error),
                 DAYBOOK_EINVALID);
    definition.name = "good";
    assert_model(at, daybook_projection_new(NULL, &definition, at->database, NULL, &projection, &at->error),
                 DAYBOOK_EMISUSE);
    assert_model(at, daybook_projection_new(engine, &definition, at->database, NULL, NULL, &at->error),
                 DAYBOOK_EMISUSE);
    at->options.batch_count = 0;
    assert_model(
        at, daybook_projection_new(engine, &definition, at->database, &at->options, &projection, &at->error),
        DAYBOOK_EINVALID);
    assert_null(projection);
    daybook_engine lesser = *engine;
    lesser.capabilities = 0;
    assert_model(at,
                 daybook_projection_new(&lesser, &definition, at->database, NULL, &projection, &at->error),
                 DAYBOOK_EUNSUPPORTED);
    assert_non_null(strstr(at->error.message, "a projection"));
    daybook_projection_free(NULL);
    daybook_projection_interrupt(NULL);
    daybook_read_model_close(NULL);
}

static void an_option_out_of_range_is_named(void **context) {
    model *at = *context;
    static const struct {
        uint32_t batch_count;
        int64_t batch_wait_ns, retry_wait_ns, retry_wait_max_ns;
        int on_error;
        const char *words; // NULL: in range
    } cases[] = {
        {0, 0, 1, 1, 0, "batch_count"},
        {1, -1, 1, 1, 0, "batch_wait_ns must not be below zero"},
        {1, 0, 0, 1, 0, "retry_wait_ns must be above zero"},
        {1, 0, 2, 1, 0, "retry_wait_max_ns"},
        {1, 0, 1, 1, -1, "on_error"},
        {1, 0, 1, 1, DAYBOOK_PROJECTION_STOP + 1, "on_error"},
        {1, 0, 1, 1, DAYBOOK_PROJECTION_STOP, NULL},
    };
    daybook_projection_definition definition;
    daybook_projection_definition_init(&definition);
    definition.handler = handle;
    definition.name = "good";
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        at->options.batch_count = cases[i].batch_count;
        at->options.batch_wait_ns = cases[i].batch_wait_ns;
        at->options.retry_wait_ns = cases[i].retry_wait_ns;
        at->options.retry_wait_max_ns = cases[i].retry_wait_max_ns;
        at->options.on_error = cases[i].on_error;
        daybook_projection *projection = NULL;
        daybook_status status = daybook_projection_new(daybook_store_engine(at->store), &definition,
                                                       at->database, &at->options, &projection, &at->error);
        assert_model(at, status, cases[i].words == NULL ? DAYBOOK_OK : DAYBOOK_EINVALID);
        if (cases[i].words != NULL) assert_non_null(strstr(at->error.message, cases[i].words));
        daybook_projection_free(projection);
    }
}

#define MODEL_TEST(function) \
    { #function, function, model_open, model_close, NULL }

int main(void) {
    const struct CMUnitTest tests[] = {
        MODEL_TEST(rows_are_those_of_a_fold),
        MODEL_TEST(what_it_refuses_is_parked),
        MODEL_TEST(other_failures_of_it_end_the_run),
        MODEL_TEST(all_kinds_of_values_are_taken),
        MODEL_TEST(wrong_use_ends_the_run_with_a_word),
        MODEL_TEST(more_statements_than_are_kept_work),
        MODEL_TEST(definitions_and_options_are_checked),
        MODEL_TEST(an_option_out_of_range_is_named),
    };
    return cmocka_run_group_tests_name("projection/handler", tests, NULL, NULL);
}
