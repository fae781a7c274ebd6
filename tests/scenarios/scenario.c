// SPDX-License-Identifier: Apache-2.0
#include "scenarios/scenario.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *grow(void *items, size_t count, size_t size) {
    void *grown = realloc(items, count * size);
    if (grown == NULL) {
        (void)fprintf(stderr, "out of memory reading scenarios\n");
        exit(1);
    }
    return grown;
}

static char *read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    size_t size = 0;
    while (file != NULL) {
        text = grow(text, size + 4097, 1);
        size_t got = fread(text + size, 1, 4096, file);
        size += got;
        text[size] = '\0';
        if (got == 0) break;
    }
    if (file == NULL || ferror(file) != 0) {
        (void)fprintf(stderr, "%s cannot be read\n", path);
        exit(1);
    }
    (void)fclose(file);
    return text;
}

static char *trim(char *text) {
    char *comment = strchr(text, '#');
    // "3#7" is the seventh delivery; a comment begins a line or follows a blank.
    while (comment != NULL && comment != text && comment[-1] != ' ') comment = strchr(comment + 1, '#');
    if (comment != NULL) *comment = '\0';
    text += strspn(text, " \t");
    size_t size = strlen(text);
    while (size > 0 && strchr(" \t\r", text[size - 1]) != NULL) text[--size] = '\0';
    return text;
}

static void add_line(scenario_set *set, const char *path, unsigned number, const char *text) {
    static const char head[] = "scenario ";
    if (strncmp(text, head, sizeof head - 1) == 0) {
        set->items = grow(set->items, set->count + 1, sizeof *set->items);
        set->items[set->count++] = (scenario){.file = path, .title = text + sizeof head - 1};
        return;
    }
    if (set->count == 0 || set->items[set->count - 1].file != path) {
        (void)fprintf(stderr, "%s:%u: a line before the first scenario\n", path, number);
        exit(1);
    }
    scenario *last = &set->items[set->count - 1];
    last->lines = grow(last->lines, last->line_count + 1, sizeof *last->lines);
    last->lines[last->line_count++] = (scenario_line){number, text};
    if (strstr(text, "restart") != NULL) last->restarts = true;
}

void scenario_set_read(scenario_set *set, const char *path) {
    char *text = read_file(path);
    set->texts = grow(set->texts, set->text_count + 1, sizeof *set->texts);
    set->texts[set->text_count++] = text;
    unsigned number = 1;
    for (char *line = text; line != NULL; number++) {
        char *end = strchr(line, '\n');
        if (end != NULL) *end = '\0';
        const char *said = trim(line);
        if (*said != '\0') add_line(set, path, number, said);
        line = end == NULL ? NULL : end + 1;
    }
}

void scenario_set_free(scenario_set *set) {
    for (size_t i = 0; i < set->count; i++) free(set->items[i].lines);
    free(set->items);
    for (size_t i = 0; i < set->text_count; i++) free(set->texts[i]);
    free(set->texts);
    *set = (scenario_set){0};
}
