// SPDX-License-Identifier: Apache-2.0
#define _POSIX_C_SOURCE 200809L
#include "wire/script.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_SIZE_MAX = 4096 };

static void refuse(const char *path, unsigned line, const char *format, ...)
    __attribute__((format(printf, 3, 4), noreturn));
static void refuse(const char *path, unsigned line, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)fprintf(stderr, "%s:%u: ", path, line);
    (void)vfprintf(stderr, format, arguments);
    (void)fprintf(stderr, "\n");
    va_end(arguments);
    exit(1);
}

static char *copy(const char *text) {
    size_t size = strlen(text) + 1;
    char *copied = malloc(size);
    if (copied == NULL) exit(1);
    memcpy(copied, text, size);
    return copied;
}

unsigned parse_version(const char *version_text) {
    char *end;
    unsigned long major = strtoul(version_text, &end, 10);
    return *end != '.' ? 0 : (unsigned)(major * 1000 + strtoul(end + 1, NULL, 10));
}

bool gate_is_open(const gate *at, bool is_daybook, unsigned version) {
    if (at->server != EVERYWHERE && (at->server == ON_DAYBOOK) != is_daybook) return false;
    if (at->comparison == BELOW_VERSION) return version < at->version;
    return at->comparison == ANY_VERSION || version >= at->version;
}

// "@daybook", "@nats<2.10", "@>=2.11" before a step.
static bool read_gate(const char *word, gate *gate_out) {
    static const struct {
        const char *name;
        int server;
    } servers[] = {{"daybook", ON_DAYBOOK}, {"nats", ON_NATS}, {"", EVERYWHERE}};
    for (size_t i = 0; i < sizeof servers / sizeof *servers; i++) {
        size_t size = strlen(servers[i].name);
        if (strncmp(word, servers[i].name, size) != 0) continue;
        *gate_out = (gate){.server = servers[i].server};
        const char *rest = word + size;
        if (*rest == '\0') return size > 0;
        gate_out->comparison = *rest == '<' ? BELOW_VERSION : FROM_VERSION;
        if (*rest != '<' && strncmp(rest, ">=", 2) != 0) return false;
        gate_out->version = parse_version(rest + (*rest == '<' ? 1 : 2));
        return gate_out->version > 0;
    }
    return false;
}

// The word at *at, which moves to behind the one blank that follows it.
static size_t take_word(char **at, char *word, size_t capacity) {
    size_t size = strcspn(*at, " ");
    if (size >= capacity) return 0;
    memcpy(word, *at, size);
    word[size] = '\0';
    *at += size;
    if (**at == ' ') (*at)++;
    return size;
}

// "b>" and the like. false: it is none of them.
static bool read_arrow(char *word, step *step_out) {
    static const struct {
        const char *arrow;
        step_kind kind;
    } arrows[] = {
        {">>", STEP_SEND_BYTES}, {">", STEP_SEND_LINE}, {"<~", STEP_EXPECT_JSON}, {"<", STEP_EXPECT}};
    size_t name_size = 0;
    while (isalnum((unsigned char)word[name_size])) name_size++;
    for (size_t i = 0; i < sizeof arrows / sizeof *arrows; i++) {
        if (strcmp(word + name_size, arrows[i].arrow) != 0) continue;
        step_out->kind = arrows[i].kind;
        word[name_size] = '\0';
        if (name_size < sizeof step_out->name) memcpy(step_out->name, word, name_size + 1);
        return name_size < sizeof step_out->name;
    }
    return false;
}

static void add_step(script *read, const step *added) {
    if (read->count == read->capacity) {
        read->capacity = read->capacity * 2 + 64;
        read->steps = realloc(read->steps, read->capacity * sizeof *read->steps);
        if (read->steps == NULL) exit(1);
    }
    read->steps[read->count++] = *added;
}

static void read_step(script *read, unsigned line, char *at) {
    step added = {.kind = STEP_WORD, .line = line};
    char word[LINE_SIZE_MAX];
    (void)take_word(&at, word, sizeof word);
    if (word[0] == '@') {
        if (!read_gate(word + 1, &added.gate)) refuse(read->path, line, "%s is no gate", word);
        while (*at == ' ') at++;
        (void)take_word(&at, word, sizeof word);
    }
    if (!read_arrow(word, &added)) {
        if (strlen(word) >= sizeof added.name) refuse(read->path, line, "there is no step %s", word);
        (void)snprintf(added.name, sizeof added.name, "%.*s", (int)sizeof added.name - 1, word);
        while (*at == ' ') at++;
    }
    added.text = copy(at);
    add_step(read, &added);
}

// Up to "end" alone; without the indentation of its first line.
static char *read_config(script *read, FILE *file, unsigned *line) {
    char text[LINE_SIZE_MAX];
    char *config = copy("");
    size_t size = 0;
    unsigned start = *line;
    while (fgets(text, sizeof text, file) != NULL) {
        (*line)++;
        if (strcmp(text, "end\n") == 0) return config;
        size_t added = strlen(text);
        config = realloc(config, size + added + 1);
        if (config == NULL) exit(1);
        memcpy(config + size, text, added + 1);
        size += added;
    }
    refuse(read->path, start, "config without end");
}

static bool is_head(const script *read, const char *at, const char *word) {
    size_t size = strlen(word);
    return read->count == 0 && strncmp(at, word, size) == 0 && (at[size] == ' ' || at[size] == '\0');
}

static void read_needs(script *read, unsigned line, char *at) {
    char version[32];
    if (take_word(&at, version, sizeof version) == 0 || parse_version(version) == 0 || *at == '\0')
        refuse(read->path, line, "needs a version, and why");
    read->needed_version = parse_version(version);
    free(read->needed_why);
    read->needed_why = copy(at);
}

static void read_line(script *read, FILE *file, unsigned *line, char *at) {
    if (strcmp(at, "config") == 0) {
        char *config = read_config(read, file, line);
        if (read->count == 0) {
            free(read->config);
            read->config = config;
        } else {
            step added = {.kind = STEP_WORD, .line = *line, .name = "config", .text = config};
            add_step(read, &added);
        }
    } else if (is_head(read, at, "needs")) {
        at += strlen("needs");
        read_needs(read, *line, at + strspn(at, " "));
    } else if (is_head(read, at, "jetstream")) {
        read->with_jetstream = true;
    } else if (is_head(read, at, "flags")) {
        free(read->flags);
        at += strlen("flags");
        read->flags = copy(at + strspn(at, " "));
    } else {
        read_step(read, *line, at);
    }
}

// Each repeat and unordered learns where it ends.
static void find_ends(script *read) {
    size_t open[16], depth = 0;
    for (size_t i = 0; i < read->count; i++) {
        step *at = &read->steps[i];
        if (at->kind != STEP_WORD) continue;
        if (strcmp(at->name, "repeat") == 0 || strcmp(at->name, "unordered") == 0) {
            if (depth == sizeof open / sizeof *open) refuse(read->path, at->line, "too deep");
            open[depth++] = i;
        } else if (strcmp(at->name, "end") == 0) {
            if (depth == 0) refuse(read->path, at->line, "end of nothing");
            read->steps[open[--depth]].block_end = i + 1;
        }
    }
    if (depth > 0) refuse(read->path, read->steps[open[depth - 1]].line, "it has no end");
}

void script_read(script *read_out, const char *path) {
    char text[LINE_SIZE_MAX];
    unsigned line = 0;
    *read_out = (script){.path = path, .config = copy(""), .flags = copy(""), .needed_why = copy("")};
    FILE *file = fopen(path, "r");
    if (file == NULL) refuse(path, 0, "it cannot be opened");
    while (fgets(text, sizeof text, file) != NULL) {
        size_t size = strlen(text);
        line++;
        if (size > 0 && text[size - 1] != '\n')
            refuse(path, line, "a line of more than %d bytes", LINE_SIZE_MAX - 2);
        text[size - 1] = '\0';
        char *at = text + strspn(text, " ");
        if (*at != '\0' && *at != '#') read_line(read_out, file, &line, at);
    }
    (void)fclose(file);
    find_ends(read_out);
    if (read_out->count == 0) refuse(path, line, "there is nothing to do");
}

void script_free(script *read) {
    for (size_t i = 0; i < read->count; i++) free((void *)(uintptr_t)read->steps[i].text);
    free(read->steps);
    free(read->config);
    free(read->flags);
    free(read->needed_why);
}
