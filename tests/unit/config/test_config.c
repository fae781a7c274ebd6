// SPDX-License-Identifier: Apache-2.0
// Trees of the configuration language, compared by a short text:
//     {port=4222 tags=['a' 'b'] tls={verify=yes} ratio=0.5}
// with texts in single quotes, booleans as yes and no.
#include "config/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "lib/fault_allocator.h"

static void put(dbk_buf *out, const char *text) {
    dbk_buf_append_slice(out, daybook_text(text));
}

static void render(dbk_buf *out, const dbk_config_value *value);

static void render_items(dbk_buf *out, const dbk_config_value *array) {
    size_t count = 0;
    put(out, "[");
    for (const dbk_config_value *item = array->items; item != NULL; item = item->next) {
        if (count++ > 0) put(out, " ");
        render(out, item);
    }
    put(out, "]");
    assert_int_equal(count, array->count);
}

static void render_entries(dbk_buf *out, const dbk_config_value *map) {
    size_t count = 0;
    put(out, "{");
    for (const dbk_config_entry *entry = map->entries; entry != NULL; entry = entry->next) {
        if (count++ > 0) put(out, " ");
        assert_int_equal(strlen(entry->key.data), entry->key.size);
        dbk_buf_append_slice(out, entry->key);
        put(out, entry->is_variable ? "~=" : "=");
        render(out, entry->value);
    }
    put(out, "}");
    assert_int_equal(count, map->count);
}

static void render(dbk_buf *out, const dbk_config_value *value) {
    char number[64];
    switch (value->kind) {
    case DBK_CONFIG_STRING:
        put(out, "'");
        dbk_buf_append_slice(out, value->text);
        put(out, "'");
        assert_int_equal(strlen(value->text.data), value->text.size);
        break;
    case DBK_CONFIG_INTEGER:
        (void)snprintf(number, sizeof number, "%lld", (long long)value->integer);
        put(out, number);
        break;
    case DBK_CONFIG_FLOAT:
        (void)snprintf(number, sizeof number, "%g", value->number);
        put(out, number);
        break;
    case DBK_CONFIG_BOOLEAN:
        put(out, value->boolean ? "yes" : "no");
        break;
    case DBK_CONFIG_ARRAY:
        render_items(out, value);
        break;
    case DBK_CONFIG_MAP:
        render_entries(out, value);
        break;
    }
}

// Files and environment of the tests.
typedef struct named_text {
    const char *name;
    const char *text;
} named_text;

static const named_text files[] = {
    {"main.conf", "include ./users.conf\nport: 1"},
    {"users.conf", "users: [a, b]"},
    {"deep/one.conf", "include two.conf"},
    {"deep/two.conf", "two: yes\ninclude '../users.conf'"},
    {"json.conf", "{\"a\": {\"b\": [1, 2]}}\n"},
    {"circle.conf", "include ./back.conf"},
    {"back.conf", "x: 1\ninclude ./circle.conf"},
    {"bad.conf", "a: 1\n b c d"},
    {"loop0", "include loop1"},
    {"loop1", "include loop2"},
    {"loop2", "include loop3"},
    {"loop3", "include loop4"},
    {"loop4", "include loop5"},
    {"loop5", "include loop6"},
    {"loop6", "include loop7"},
    {"loop7", "include loop8"},
    {"loop8", "end: 1"},
    {"uses_outer.conf", "b: $A"},
    {"open.conf", "map {"},
    {"close.conf", "x: 1 }"},
    {"empty.conf", ""},
};

static const named_text variables[] = {
    {"PORT", "4222"},         {"NAME", "somebody"}, {"LIST", "[a, 2]"},
    {"QUOTED", "'12 34'"},    {"EMPTY", ""},        {"SELF", "$SELF"},
    {"INDIRECT", "$PORT"},    {"TWO", "a b"},       {"SECRET", "s3cr3t } x"},
    {"MAP", "{a: 1}"},        {"OPEN", "[1"},       {"BAD_ESCAPE", "\"Xyz\\q\""},
    {"BCRYPT", "$2a$11$abc"},
};

static const char *find_text(const named_text *texts, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(texts[i].name, name) == 0) return texts[i].text;
    }
    return NULL;
}

static daybook_status read_file(void *context, const char *path, dbk_buf *bytes, daybook_error *error) {
    (void)context;
    const char *text = find_text(files, sizeof files / sizeof files[0], path);
    if (text == NULL) return dbk_fail(error, DAYBOOK_ENOTFOUND, "cannot open %s: No such file", path);
    dbk_buf_append_slice(bytes, daybook_text(text));
    return dbk_buf_status(bytes);
}

static const char *get_variable(void *context, const char *name) {
    (void)context;
    return find_text(variables, sizeof variables / sizeof variables[0], name);
}

static const dbk_config_source source = {NULL, read_file, get_variable};

static void check_tree(const char *text, const char *wanted) {
    dbk_config *config;
    daybook_error error;
    if (dbk_config_parse(daybook_text(text), "nats.conf", &source, dbk_allocator_default(), &config,
                         &error) != DAYBOOK_OK)
        fail_msg("<<%s>> is refused: %s", text, error.message);
    dbk_buf out;
    dbk_buf_init(&out, dbk_allocator_default(), 1 << 20);
    render(&out, dbk_config_root(config));
    dbk_buf_append_u8(&out, 0);
    assert_int_equal(dbk_buf_status(&out), DAYBOOK_OK);
    if (strcmp((const char *)out.data, wanted) != 0)
        fail_msg("<<%s>> gives %s, not %s", text, out.data, wanted);
    dbk_buf_deinit(&out);
    dbk_config_free(config);
}

static void check_refusal(const char *text, daybook_status status, const char *message) {
    dbk_config *config = (dbk_config *)(uintptr_t)1;
    daybook_error error;
    daybook_status got =
        dbk_config_parse(daybook_text(text), "nats.conf", &source, dbk_allocator_default(), &config, &error);
    if (got == DAYBOOK_OK) fail_msg("<<%s>> is taken", text);
    assert_null(config);
    if (got != status || strncmp(error.message, message, strlen(message)) != 0)
        fail_msg("<<%s>> gives %s: %s; not %s", text, daybook_status_name(got), error.message, message);
    assert_int_equal(error.status, status);
    // Without an error it is the same.
    assert_int_equal(
        dbk_config_parse(daybook_text(text), "nats.conf", &source, dbk_allocator_default(), &config, NULL),
        status);
}

static void the_language_is_that_of_nats(void **state) {
    (void)state;
    static const struct {
        const char *text;
        const char *tree;
    } cases[] = {
        // Keys and separators.
        {"", "{}"},
        {" \n\t\r\n", "{}"},
        {"a: 1", "{a=1}"},
        {"a = 1", "{a=1}"},
        {"a 1", "{a=1}"},
        {"a:1", "{a=1}"},
        {"a=b=c", "{a='b=c'}"},
        {"a  :\t1", "{a=1}"},
        {"a: 1\nb: 2", "{a=1 b=2}"},
        {"a: 1\r\nb: 2\r\n", "{a=1 b=2}"},
        {"a: 1; b: 2, c: 3", "{a=1 b=2 c=3}"},
        {"a: 1;\nb: 2,\nc: 3;", "{a=1 b=2 c=3}"},
        {"'a b': 1\n\"c:d\" = 2", "{a b=1 c:d=2}"},
        {"a.b.c: 1\na-b: 2\n$SYS: 3", "{a.b.c=1 a-b=2 $SYS=3}"},
        {"a: 1\na: 2\nb: 3", "{a=2 b=3}"},
        {"\xef\xbb\xbf"
         "a: 1",
         "{a=1}"},
        {"gr\xc3\xbc\xc3\x9f: \xc3\xa4", "{gr\xc3\xbc\xc3\x9f='\xc3\xa4'}"},

        // Words.
        {"a: true\nb: YES\nc: On\nd: false\ne: no\nf: OFF", "{a=yes b=yes c=yes d=no e=no f=no}"},
        {"a: 'true'\nb: \"4222\"\nc: tru\\x65", "{a='true' b='4222' c='true'}"},
        {"a: 0.5\nb: -1.25\nc: 1.\nd: 1.2.3\ne: 10.0", "{a=0.5 b=-1.25 c='1.' d='1.2.3' e=10}"},
        {"a: 64k\nb: 8MB\nc: -1\nd: 2s\ne: 300ms\nf: 5m",
         "{a=64000 b=8388608 c=-1 d='2s' e='300ms' f=5000000}"},
        {"listen: 127.0.0.1:4222", "{listen='127.0.0.1:4222'}"},
        {"listen: [::1]:4222", NULL},
        {"listen: \"[::1]:4222\"", "{listen='[::1]:4222'}"},
        {"url: nats://a:4222 # comment", "{url='nats://a:4222'}"},
        {"a: x#y\nb: #secret\nc: //x", "{a='x#y' b='#secret' c='//x'}"},
        {"a: eyJ0eXAi.OiJ-_.xx==", "{a='eyJ0eXAi.OiJ-_.xx=='}"},
        {"a: a\\tb\\\\\\x41", "{a='a\tb\\A'}"},
        {"a: it's", "{a='it's'}"},
        {"a: 2020-01-01T00:00:00Z", "{a='2020-01-01T00:00:00Z'}"},
        {"a: null", "{a='null'}"},

        // Texts in quotes, blocks.
        {"a: \"x\\ty\\\"z\\\\\\n\"", "{a='x\ty\"z\\\n'}"},
        {"a: 'x\\ty\"z'", "{a='x\\ty\"z'}"},
        {"a: \"\"\nb: ''", "{a='' b=''}"},
        {"a: \"one\ntwo\"", "{a='one\ntwo'}"},
        {"a: (\nx\n  )\ny)\n)\nb: 1", "{a='\nx\n  )\ny)\n' b=1}"},
        {"a (\n)", "{a='\n'}"},

        // Arrays.
        {"a: []", "{a=[]}"},
        {"a: [1,2 , 3]", "{a=[1 2 3]}"},
        {"a: [1, 2,]", "{a=[1 2]}"},
        {"a = [\n 1\n 2 # two\n // three\n 'x y'\n]", "{a=[1 2 'x y']}"},
        {"a [x, [y, []], {z: 1}]", "{a=['x' ['y' []] {z=1}]}"},
        {"a: [\"a.>\", b.*, $NAME]", "{a=['a.>' 'b.*' 'somebody']}"},

        // Maps.
        {"a {}", "{a={}}"},
        {"a{b:1}", "{a={b=1}}"},
        {"a: { b: 1, c: 2 }\nd: 3", "{a={b=1 c=2} d=3}"},
        {"a = {\n b: 1; c: 2\n\n d e\n}", "{a={b=1 c=2 d='e'}}"},
        {"a\n{\n b:\n 1\n}", "{a={b=1}}"},
        {"a:\n[1]\nb:\n{c: 2}", "{a=[1] b={c=2}}"},
        {"a {b {c {d: 1}}} b: 2", NULL},
        {"a {b {c {d: 1}}}; b: 2", "{a={b={c={d=1}}} b=2}"},
        {"a { # x\n // y\n b: 1 // z\n}", "{a={b=1}}"},

        // A file may be JSON.
        {"{\"a\": 1, \"b\": [true, 0.5, \"x\"],\n \"c\":\n  {\"d\": \"e\"}}",
         "{a=1 b=[yes 0.5 'x'] c={d='e'}}"},
        {" # comment\n{ a: 1 }\n# end", "{a=1}"},
        {"{}", "{}"},

        // Variables.
        {"A: 7\nb: $A\nc: x", "{A~=7 b=7 c='x'}"},
        {"A: {x: [1]}\nb: $A\nc: [$A, $A]", "{A~={x=[1]} b={x=[1]} c=[{x=[1]} {x=[1]}]}"},
        {"A: 1\nm { A: 2\n n { b: $A } }\nb: $A", "{A~=1 m={A~=2 n={b=2}} b=1}"},
        {"p: $PORT\nn: $NAME\nl: $LIST\nq: $QUOTED\ne: $EMPTY",
         "{p=4222 n='somebody' l=['a' 2] q='12 34' e=''}"},
        {"i: $INDIRECT\nm: $MAP", "{i=4222 m={a=1}}"},
        {"PORT: 1\ni: $INDIRECT\nj: $PORT", "{PORT~=1 i=4222 j=1}"}, // the environment's sees no keys
        {"PORT: $PORT", "{PORT=4222}"},
        {"p: $2a$11$abc\nq: $2b$x\nr: $BCRYPT", "{p='$2a$11$abc' q='$2b$x' r='$2a$11$abc'}"},
        {"a: '$NAME'\nb: \"$NAME\"\nc: x$NAME", "{a='$NAME' b='$NAME' c='x$NAME'}"},

        // Includes.
        {"include main.conf", "{users=['a' 'b'] port=1}"},
        {"include \"main.conf\"\nz: 1", "{users=['a' 'b'] port=1 z=1}"},
        {"Include 'main.conf'; z: 1", "{users=['a' 'b'] port=1 z=1}"},
        {"port: 9\nauthorization { include users.conf\n x: 1 }",
         "{port=9 authorization={users=['a' 'b'] x=1}}"},
        {"a { include users.conf}", "{a={users=['a' 'b']}}"},
        {"include deep/one.conf", "{two=yes users=['a' 'b']}"},
        {"include json.conf", "{a={b=[1 2]}}"},
        {"include empty.conf", "{}"},
        {"port: 9\ninclude main.conf", "{port=1 users=['a' 'b']}"},
        {"A: 5\ninclude uses_outer.conf", "{A~=5 b=5}"},
        {"include loop2", "{end=1}"},
        {"include: x\n'include' y", "{include='y'}"},
        {"include = x", "{include='x'}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (cases[i].tree == NULL) {
            dbk_config *config;
            assert_int_equal(dbk_config_parse(daybook_text(cases[i].text), "nats.conf", &source,
                                              dbk_allocator_default(), &config, NULL),
                             DAYBOOK_EINVALID);
        } else {
            check_tree(cases[i].text, cases[i].tree);
        }
    }
}

static void what_is_wrong_is_named_with_its_place(void **state) {
    (void)state;
    static const struct {
        const char *text;
        const char *message;
    } cases[] = {
        {"a", "nats.conf:1:2: a has no value; write it behind the key on the same line"},
        {"a:", "nats.conf:1:3: a has no value"},
        {"a:\nb: 1", "nats.conf:1:3: a has no value"},
        {"debug\ntrace: true", "nats.conf:1:6: debug has no value"},
        {"a: }", "nats.conf:1:4: a has no value"},
        {"m { a: , b: 1 }", "nats.conf:1:8: a has no value"},
        {"m { a }", "nats.conf:1:7: a has no value"},
        {"a: 1\n  : 2", "nats.conf:2:3: expected a key, found ':'; write `key: value`"},
        {"[1]", "nats.conf:1:1: expected a key, found '['"},
        {"\"\": 1", "nats.conf:1:1: a key without a name"},
        {"a: 1 b: 2", "nats.conf:1:6: expected the end of the line, found 'b'; put each key on its own line"},
        {"a: x y", "nats.conf:1:6: expected the end of the line, found 'y'"},
        {"a: 1 2", "nats.conf:1:6: expected the end of the line, found '2'"},
        {"a: 'x' y", "nats.conf:1:8: expected the end of the line, found 'y'"},
        {"a: 1 }", "nats.conf:1:6: this } closes nothing"},
        {"}", "nats.conf:1:1: this } closes nothing"},
        {"{a: 1}}", "nats.conf:1:7: expected nothing behind the last }, found '}'"},
        {"a {\n b: 1\n", "nats.conf:1:3: the map that begins here has no end; close it with }"},
        {"{", "nats.conf:1:1: the map that begins here has no end"},
        {"a: [1,\n2", "nats.conf:1:4: the array that begins here has no end; close it with ]"},
        {"a: [1,,2]", "nats.conf:1:7: expected a value, found ','"},
        {"a: [1 2]", "nats.conf:1:7: expected the end of the value or of the array, found '2'"},
        {"a: [1}", "nats.conf:1:6: expected the end of the value or of the array, found '}'"},
        {"a: \"x\nb: 1", "nats.conf:1:4: the text that begins here has no end; close it with \""},
        {"'a: 1", "nats.conf:1:1: the text that begins here has no end; close it with '"},
        {"a: (\n x\n b: )", "nats.conf:1:4: the block that begins here has no end; close it with ) alone"},
        {"a: \"\\q\"", "nats.conf:1:6: expected x, t, n, r, \" or \\ behind a backslash, found 'q'"},
        {"a: \"\\x4g\"", "nats.conf:1:8: expected two hexadecimal digits behind \\x, found 'g'"},
        {"a: \"\\x00\"", "nats.conf:1:9: a zero byte cannot be part of a text"},
        {"a: x\\",
         "nats.conf:1:6: expected x, t, n, r, \" or \\ behind a backslash, found the end of the text"},
        {"a: 9223372036854775808", "nats.conf:1:4: the number does not fit 64 bits"},
        {"a: 99999999999999999999kb", "nats.conf:1:4: the number does not fit 64 bits"},
        {"a: $", "nats.conf:1:4: no name behind $"},
        {"a: $NOT_SET",
         "nats.conf:1:4: no value for $NOT_SET: no such key stands above it, and the environment"},
        {"b { c: 1 }\na: $c", "nats.conf:2:4: no value for $c"},
        {"a: $b\nb: 1", "nats.conf:1:4: no value for $b"},
        {"a: $SELF", "$SELF:1:1: environment variables that name each other, $SELF among them"},
        {"a: $TWO", "$TWO:1:3: expected one value in the environment variable, found something else"},
        {"a: $SECRET", "$SECRET:1:8: expected one value in the environment variable, found something else"},
        {"a: $OPEN", "$OPEN:1:1: the array that begins here has no end"},
        {"a: $BAD_ESCAPE",
         "$BAD_ESCAPE:1:6: expected x, t, n, r, \" or \\ behind a backslash, found something"},
        {"include", "nats.conf:1:8: expected a file name behind include, found the end of the text"},
        {"include\nx: 1", "nats.conf:1:8: expected a file name behind include, found the end of the line"},
        {"include circle.conf", "back.conf:2:1: a circle of includes: circle.conf is being read already"},
        {"a: 1\ninclude ./nats.conf", "nats.conf:2:1: a circle of includes: nats.conf is being read"},
        {"include bad.conf", "bad.conf:2:6: expected the end of the line, found 'd'"},
        {"include open.conf\n}", "open.conf:1:5: the map that begins here has no end"},
        {"m { include close.conf", "close.conf:1:6: this } closes nothing"},
        {"include users.conf x: 1", "nats.conf:1:20: expected the end of the line"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_refusal(cases[i].text, DAYBOOK_EINVALID, cases[i].message);
    check_refusal("x: 1\ninclude no.conf", DAYBOOK_ENOTFOUND,
                  "nats.conf:2:1: cannot include it: cannot open no.conf: No such file");
    check_refusal("include loop0", DAYBOOK_ELIMIT, "loop6:1:1: more than 8 files that include each other");
}

static void a_zero_byte_is_refused(void **state) {
    (void)state;
    static const char text[] = "a: x\0y";
    dbk_config *config;
    daybook_error error;
    assert_int_equal(dbk_config_parse(daybook_bytes(text, sizeof text - 1), "nats.conf", &source,
                                      dbk_allocator_default(), &config, &error),
                     DAYBOOK_EINVALID);
    assert_string_equal(error.message, "nats.conf:1:5: a zero byte; save the file as plain text");
}

static void secrets_of_the_environment_are_not_repeated(void **state) {
    (void)state;
    dbk_config *config;
    daybook_error error;
    assert_int_equal(dbk_config_parse(daybook_text("a: $SECRET"), "nats.conf", &source,
                                      dbk_allocator_default(), &config, &error),
                     DAYBOOK_EINVALID);
    assert_null(strstr(error.message, "s3cr3t"));
}

static void without_callbacks_there_are_no_files_and_no_environment(void **state) {
    (void)state;
    dbk_config *config;
    daybook_error error;
    assert_int_equal(dbk_config_parse(daybook_text("include users.conf"), "nats.conf", NULL,
                                      dbk_allocator_default(), &config, &error),
                     DAYBOOK_EUNSUPPORTED);
    assert_string_equal(error.message, "nats.conf:1:1: no file can be read here; give its text instead");
    assert_int_equal(dbk_config_parse(daybook_text("a: $PORT"), "nats.conf", NULL, dbk_allocator_default(),
                                      &config, &error),
                     DAYBOOK_EINVALID);
}

static void places_are_those_of_the_file_they_stand_in(void **state) {
    (void)state;
    dbk_config *config;
    assert_int_equal(dbk_config_parse(daybook_text("# x\n  A: 7\nb {\n  include users.conf\n  c: $A\n}"),
                                      "etc/nats.conf", &(dbk_config_source){NULL, read_file, NULL},
                                      dbk_allocator_default(), &config, NULL),
                     DAYBOOK_ENOTFOUND); // etc/users.conf
    assert_int_equal(dbk_config_parse(daybook_text("# x\n  A: 7\nb {\n  include users.conf\n  c: $A\n}"),
                                      "nats.conf", &source, dbk_allocator_default(), &config, NULL),
                     DAYBOOK_OK);
    const dbk_config_entry *a = dbk_config_find(dbk_config_root(config), "A", false);
    assert_int_equal(a->place.line, 2);
    assert_int_equal(a->place.column, 3);
    assert_int_equal(a->value->place.column, 6);
    assert_null(dbk_config_find(dbk_config_root(config), "a", false));
    assert_ptr_equal(dbk_config_find(dbk_config_root(config), "a", true), a);
    assert_null(dbk_config_find(a->value, "a", true));

    const dbk_config_entry *b = dbk_config_find(dbk_config_root(config), "b", false);
    const dbk_config_entry *users = dbk_config_find(b->value, "users", false);
    assert_string_equal(users->place.file, "users.conf");
    assert_int_equal(users->place.line, 1);
    const dbk_config_entry *c = dbk_config_find(b->value, "c", false);
    assert_string_equal(c->value->place.file, "nats.conf");
    assert_int_equal(c->value->place.line, 5);
    assert_int_equal(c->value->place.column, 6);
    dbk_config_free(config);
}

static void a_file_is_read_by_its_name(void **state) {
    (void)state;
    dbk_config *config;
    daybook_error error;
    assert_int_equal(dbk_config_read("deep/one.conf", &source, dbk_allocator_default(), &config, &error),
                     DAYBOOK_OK);
    assert_non_null(dbk_config_find(dbk_config_root(config), "two", false));
    dbk_config_free(config);
    assert_int_equal(dbk_config_read("none.conf", &source, dbk_allocator_default(), &config, &error),
                     DAYBOOK_ENOTFOUND);
    assert_string_equal(error.message, "cannot open none.conf: No such file");
}

static size_t add(char *text, size_t capacity, size_t size, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

// Returns the new size.
static size_t add(char *text, size_t capacity, size_t size, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int added = vsnprintf(text + size, capacity - size, format, arguments);
    va_end(arguments);
    assert_true(added >= 0 && (size_t)added < capacity - size);
    return size + (size_t)added;
}

// What could take memory or stack without end comes to one.
static void the_text_is_bounded(void **state) {
    (void)state;
    enum { SIZE = 4096 };
    char text[SIZE];
    // Maps within maps, and one less.
    for (size_t excess = 0; excess < 2; excess++) {
        size_t size = 0;
        for (size_t i = 0; i < DBK_CONFIG_DEPTH_MAX + excess; i++) size = add(text, SIZE, size, "a{");
        size = add(text, SIZE, size, "b: x\n");
        for (size_t i = 0; i < DBK_CONFIG_DEPTH_MAX + excess; i++) text[size++] = '}';
        dbk_config *config;
        daybook_status wanted = excess == 0 ? DAYBOOK_OK : DAYBOOK_ELIMIT;
        assert_int_equal(dbk_config_parse(daybook_bytes(text, size), "nats.conf", NULL,
                                          dbk_allocator_default(), &config, NULL),
                         wanted);
        dbk_config_free(config);
    }
    // Arrays that hold ten times the one before.
    size_t size = add(text, SIZE, 0, "a0: [1,1,1,1,1,1,1,1,1,1]\n");
    for (int i = 1; i < 9; i++) {
        size = add(text, SIZE, size, "a%d: [", i);
        for (int j = 0; j < 10; j++) size = add(text, SIZE, size, "$a%d,", i - 1);
        size = add(text, SIZE, size, "]\n");
    }
    check_refusal(text, DAYBOOK_ELIMIT, "nats.conf:");
    // Arrays one deeper than the one before.
    size = add(text, SIZE, 0, "a0: []\n");
    for (int i = 1; i < 100; i++) size = add(text, SIZE, size, "a%d: [$a%d]\n", i, i - 1);
    check_refusal(text, DAYBOOK_ELIMIT, "nats.conf:65:");
    // A scalar fits at any depth.
    check_tree("A: 1\nb: [[[$A]]]", "{A~=1 b=[[[1]]]}");
}

static void running_out_of_memory_is_a_status(void **state) {
    (void)state;
    static const char text[] =
        "a: [1, {b: $NAME, c: \"x\\ty\"}]\ninclude main.conf\nd: $LIST\n'e f' (\nx\n)\ng: $a";
    fault_allocator faults;
    fault_allocator_init(&faults);
    for (uint64_t nth = 1;; nth++) {
        fault_allocator_fail(&faults, nth, false);
        dbk_config *config;
        daybook_error error;
        daybook_status status =
            dbk_config_parse(daybook_text(text), "nats.conf", &source, &faults.allocator, &config, &error);
        bool has_failed = fault_allocator_has_failed(&faults);
        if (has_failed) {
            assert_int_equal(status, DAYBOOK_ENOMEM);
            assert_null(config);
            assert_string_equal(error.message, "out of memory while reading nats.conf");
        } else {
            assert_int_equal(status, DAYBOOK_OK);
        }
        dbk_config_free(config);
        assert_int_equal(fault_allocator_live(&faults), 0);
        if (!has_failed) break;
        assert_true(nth < 1000);
    }
}

static void nothing_may_be_freed(void **state) {
    (void)state;
    dbk_config_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_language_is_that_of_nats),
        cmocka_unit_test(what_is_wrong_is_named_with_its_place),
        cmocka_unit_test(a_zero_byte_is_refused),
        cmocka_unit_test(secrets_of_the_environment_are_not_repeated),
        cmocka_unit_test(without_callbacks_there_are_no_files_and_no_environment),
        cmocka_unit_test(places_are_those_of_the_file_they_stand_in),
        cmocka_unit_test(a_file_is_read_by_its_name),
        cmocka_unit_test(the_text_is_bounded),
        cmocka_unit_test(running_out_of_memory_is_a_status),
        cmocka_unit_test(nothing_may_be_freed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
