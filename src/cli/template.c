// SPDX-License-Identifier: Apache-2.0
//
// Templates, percent-encoding of subject tokens, slugs and lists in a cell; see template.h. Everything is a
// single pass over bytes. Values arrive as valid UTF-8 from most sources, but paths in git may be any bytes:
// cli_put_subject_token therefore escapes what is no UTF-8, and stays reversible.
#include "cli/template.h"

#include "cli/import.h"

#include <stdio.h>
#include <stdlib.h>

static const char hex_digits[] = "0123456789ABCDEF";

// --- Parsing ---------------------------------------------------------------------------------------------

static daybook_status refuse(daybook_error *error, const char *format, const char *detail, size_t size) {
    daybook_error_init(error);
    error->status = DAYBOOK_EINVALID;
    int width = size > 200 ? 200 : (int)size;
    // The formats are literals of this file, each with one %.*s.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    (void)snprintf(error->message, sizeof error->message, format, width, detail);
#pragma GCC diagnostic pop
    return DAYBOOK_EINVALID;
}

// Take `|slug` and `|each` off the end of a placeholder; what remains is the column's name.
static void take_filters(cli_template_part *part) {
    for (;;) {
        const char *name = part->text.data;
        size_t size = part->text.size;
        if (size >= 5 && memcmp(name + size - 5, "|slug", 5) == 0) {
            part->slug = 1;
        } else if (size >= 5 && memcmp(name + size - 5, "|each", 5) == 0) {
            part->each = 1;
        } else {
            return;
        }
        part->text.size = size - 5;
    }
}

static daybook_status add_placeholder(cli_template *parsed, const char *name, size_t size,
                                      daybook_error *error) {
    cli_template_part *part = &parsed->parts[parsed->part_count];
    *part = (cli_template_part){.text = {name, size}, .is_column = 1};
    take_filters(part);
    if (part->text.size == 0) return refuse(error, "a placeholder names no column in \"{%.*s}\"", name, size);
    if (part->each) {
        if (parsed->kind == CLI_TEMPLATE_SUBJECT)
            return refuse(error, "|each makes several of one, a subject is one: \"{%.*s}\"", name, size);
        if (parsed->each_part != CLI_TEMPLATE_PART_COUNT_MAX)
            return refuse(error, "a template takes |each once, and here is a second: \"{%.*s}\"", name, size);
        parsed->each_part = parsed->part_count;
    }
    parsed->part_count++;
    return DAYBOOK_OK;
}

// The text around the placeholders must be that of a subject, whatever the values: each stands for one byte
// here.
static daybook_status check_subject(const cli_template *parsed, const char *text, size_t size,
                                    daybook_error *error) {
    cli_output subject;
    cli_output_init(&subject, -1);
    for (size_t i = 0; i < parsed->part_count; i++) {
        daybook_slice part = parsed->parts[i].is_column ? daybook_text("x") : parsed->parts[i].text;
        cli_put_slice(&subject, part);
    }
    bool is_valid = daybook_subject_is_valid(daybook_bytes(subject.data, subject.size)) != 0;
    cli_output_deinit(&subject);
    if (is_valid) return DAYBOOK_OK;
    return refuse(
        error,
        "it gives no subject: tokens joined by '.', none empty, no blanks, no '*' or '>' on its own, at "
        "most 255 bytes: \"%.*s\"",
        text, size);
}

daybook_status cli_template_parse(const char *text, cli_template_kind kind, cli_template *template_out,
                                  daybook_error *error) {
    memset(template_out, 0, sizeof *template_out);
    template_out->kind = kind;
    template_out->each_part = CLI_TEMPLATE_PART_COUNT_MAX;
    size_t size = strlen(text);
    if (size == 0) return refuse(error, "the template is empty%.*s", "", 0);
    // Literal text loses its doubled braces, so parts are cut from a copy that is rewritten in place.
    char *memory = malloc(size + 1);
    if (memory == NULL) {
        (void)refuse(error, "out of memory%.*s", "", 0);
        error->status = DAYBOOK_ENOMEM;
        return DAYBOOK_ENOMEM;
    }
    memcpy(memory, text, size + 1);
    template_out->memory = memory;

    daybook_status status = DAYBOOK_OK;
    size_t literal_begin = 0, write = 0;
    for (size_t read = 0; read <= size && status == DAYBOOK_OK;) {
        char c = memory[read];
        bool is_open = c == '{' && memory[read + 1] != '{';
        if (read == size || is_open) {
            if (write > literal_begin) {
                if (template_out->part_count == CLI_TEMPLATE_PART_COUNT_MAX) goto too_many;
                template_out->parts[template_out->part_count++] =
                    (cli_template_part){.text = {memory + literal_begin, write - literal_begin}};
            }
            if (read == size) break;
            const char *close = strchr(memory + read, '}');
            if (close == NULL) {
                status = refuse(error, "the placeholder \"%.*s\" has no }", memory + read, size - read);
                break;
            }
            if (template_out->part_count == CLI_TEMPLATE_PART_COUNT_MAX) goto too_many;
            size_t name_begin = read + 1;
            size_t name_size = (size_t)(close - memory) - name_begin;
            status = add_placeholder(template_out, memory + name_begin, name_size, error);
            read = (size_t)(close - memory) + 1;
            // What follows must not overwrite the name, which the part borrows.
            literal_begin = write = read;
            continue;
        }
        if (c == '}' && memory[read + 1] != '}') {
            status = refuse(error, "a } closes nothing before \"%.*s\"; write }} for a brace",
                            memory + read + 1, size - read - 1);
            break;
        }
        memory[write++] = c;
        read += c == '{' || c == '}' ? 2 : 1;
    }
    if (template_out->each_part == CLI_TEMPLATE_PART_COUNT_MAX)
        template_out->each_part = template_out->part_count;
    if (status == DAYBOOK_OK && kind == CLI_TEMPLATE_SUBJECT)
        status = check_subject(template_out, text, size, error);
    if (status != DAYBOOK_OK) cli_template_deinit(template_out);
    return status;

too_many:
    cli_template_deinit(template_out);
    return refuse(error, "the template has too many placeholders: \"%.*s\"", text, size);
}

void cli_template_deinit(cli_template *parsed) {
    if (parsed == NULL) return;
    free(parsed->memory);
    parsed->memory = NULL;
    parsed->part_count = 0;
}

// --- Writing ---------------------------------------------------------------------------------------------

static int must_escape(unsigned char byte) {
    return byte <= 0x20 || byte == 0x7f || byte == '.' || byte == '*' || byte == '>' || byte == '%';
}

static void put_escaped(cli_output *out, unsigned char byte) {
    char text[3] = {'%', hex_digits[byte >> 4], hex_digits[byte & 15]};
    cli_put(out, text, sizeof text);
}

void cli_put_subject_token(cli_output *out, daybook_slice text) {
    const unsigned char *data = text.data;
    size_t plain_begin = 0;
    for (size_t i = 0; i < text.size;) {
        size_t size = 1;
        int escape = must_escape(data[i]);
        if (data[i] >= 0x80) {
            size = cli_utf8_sequence_size(data + i, text.size - i);
            escape = size == 0;
            if (size == 0) size = 1;
        }
        if (escape) {
            cli_put(out, data + plain_begin, i - plain_begin);
            for (size_t k = 0; k < size; k++) put_escaped(out, data[i + k]);
            plain_begin = i + size;
        }
        i += size;
    }
    cli_put(out, data + plain_begin, text.size - plain_begin);
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

size_t cli_subject_token_decode(daybook_slice text, char *out) {
    const char *data = text.data;
    size_t written = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (data[i] != '%') {
            out[written++] = data[i];
            continue;
        }
        if (text.size - i < 3 || hex_value(data[i + 1]) < 0 || hex_value(data[i + 2]) < 0) return SIZE_MAX;
        out[written++] = (char)(hex_value(data[i + 1]) * 16 + hex_value(data[i + 2]));
        i += 2;
    }
    return written;
}

void cli_put_slug(cli_output *out, daybook_slice text) {
    const unsigned char *data = text.data;
    int pending = 0, started = 0;
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = data[i];
        if (c >= 'A' && c <= 'Z') c = (unsigned char)(c - 'A' + 'a');
        int kept = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c >= 0x80;
        if (!kept) {
            pending = started;
            continue;
        }
        if (pending) cli_put_char(out, '_');
        pending = 0;
        started = 1;
        cli_put_char(out, (char)c);
    }
}

int cli_template_put(const cli_template *parsed, const cli_template_part *part, daybook_slice value,
                     cli_output *out) {
    if (!part->is_column) {
        cli_put_slice(out, part->text);
        return 1;
    }
    // In a subject a blank is a value like any other (a file may be named so); a tag of blanks is none.
    if (value.size == 0 || (parsed->kind == CLI_TEMPLATE_TAG && cli_slice_is_blank(value))) return 0;
    size_t before = out->size;
    if (part->slug) {
        cli_put_slug(out, value);
    } else if (parsed->kind == CLI_TEMPLATE_SUBJECT) {
        cli_put_subject_token(out, value);
    } else {
        cli_put_slice(out, value);
    }
    return out->size > before;
}

// --- Lists -----------------------------------------------------------------------------------------------

enum { LIST_BEGIN, LIST_FIRST, LIST_NEXT, LIST_END };

void cli_list_begin(cli_list *list, daybook_slice text) {
    *list = (cli_list){.text = text, .state = LIST_BEGIN};
}

static int list_peek(const cli_list *list) {
    return list->offset < list->text.size ? ((const unsigned char *)list->text.data)[list->offset] : -1;
}

static void list_skip_space(cli_list *list) {
    for (int c = list_peek(list); c == ' ' || c == '\t' || c == '\n' || c == '\r'; c = list_peek(list))
        list->offset++;
}

static void put_code_point(cli_output *out, uint32_t code) {
    if (code < 0x80) {
        cli_put_char(out, (char)code);
        return;
    }
    if (code < 0x800) {
        cli_put_char(out, (char)(0xC0 | code >> 6));
    } else {
        if (code < 0x10000) {
            cli_put_char(out, (char)(0xE0 | code >> 12));
        } else {
            cli_put_char(out, (char)(0xF0 | code >> 18));
            cli_put_char(out, (char)(0x80 | (code >> 12 & 0x3F)));
        }
        cli_put_char(out, (char)(0x80 | (code >> 6 & 0x3F)));
    }
    cli_put_char(out, (char)(0x80 | (code & 0x3F)));
}

// `count` hex digits at the offset; moves behind them. 0 where there are none.
static int list_hex(cli_list *list, unsigned count, uint32_t *value_out) {
    uint32_t value = 0;
    for (unsigned i = 0; i < count; i++) {
        int c = list_peek(list);
        int digit = c < 0 ? -1 : hex_value((char)c);
        if (digit < 0) return 0;
        value = value << 4 | (uint32_t)digit;
        list->offset++;
    }
    *value_out = value;
    return 1;
}

// Behind a backslash. JSON's escapes and those of Python's repr, which do not contradict each other.
static int list_escape(cli_list *list, cli_output *out) {
    int c = list_peek(list);
    list->offset++;
    uint32_t code = 0, low = 0;
    switch (c) {
    case 'n':
        code = '\n';
        break;
    case 't':
        code = '\t';
        break;
    case 'r':
        code = '\r';
        break;
    case 'b':
        code = '\b';
        break;
    case 'f':
        code = '\f';
        break;
    case '\\':
    case '/':
    case '\'':
    case '"':
        code = (uint32_t)c;
        break;
    case 'x':
        if (!list_hex(list, 2, &code)) return 0;
        break;
    case 'U':
        if (!list_hex(list, 8, &code)) return 0;
        break;
    case 'u':
        if (!list_hex(list, 4, &code)) return 0;
        if (code >= 0xD800 && code < 0xDC00) {
            if (list_peek(list) != '\\') return 0;
            list->offset++;
            if (list_peek(list) != 'u') return 0;
            list->offset++;
            if (!list_hex(list, 4, &low) || low < 0xDC00 || low > 0xDFFF) return 0;
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        }
        break;
    default:
        return 0;
    }
    if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return 0;
    put_code_point(out, code);
    return 1;
}

static int list_quoted(cli_list *list, int quote, cli_output *out) {
    const char *data = list->text.data;
    list->offset++;
    for (;;) {
        size_t begin = list->offset;
        int c = list_peek(list);
        while (c >= 0 && c != quote && c != '\\') {
            list->offset++;
            c = list_peek(list);
        }
        cli_put(out, data + begin, list->offset - begin);
        if (c < 0) return 0;
        list->offset++;
        if (c == quote) return 1;
        if (!list_escape(list, out)) return 0;
    }
}

// A number or a word up to the next comma or bracket. Nested lists and objects are no element.
static int list_bare(cli_list *list, cli_output *out) {
    const char *data = list->text.data;
    size_t begin = list->offset, end = begin;
    for (int c = list_peek(list); c >= 0 && c != ',' && c != ']'; c = list_peek(list)) {
        if (c == '[' || c == '{' || c == '"' || c == '\'') return 0;
        list->offset++;
        if (c != ' ' && c != '\t' && c != '\n' && c != '\r') end = list->offset;
    }
    daybook_slice word = {data + begin, end - begin};
    if (word.size == 0) return 0;
    static const char *const nothing[] = {"null", "None", "nan", "NaN"};
    for (size_t i = 0; i < sizeof nothing / sizeof nothing[0]; i++)
        if (cli_slice_equals(word, daybook_text(nothing[i]))) return 1;
    cli_put_slice(out, word);
    return 1;
}

// The separator before an element. 1: an element follows; 0: the list ended; -1: malformed.
static int list_advance(cli_list *list) {
    list_skip_space(list);
    int c = list_peek(list);
    if (c == ']') {
        list->offset++;
        list_skip_space(list);
        list->state = LIST_END;
        return list->offset == list->text.size ? 0 : -1;
    }
    if (list->state == LIST_FIRST) {
        list->state = LIST_NEXT;
        return c < 0 ? -1 : 1;
    }
    if (c != ',') return -1;
    list->offset++;
    list_skip_space(list);
    if (list_peek(list) == ']') return list_advance(list); // Python's one-element habit: [1,]
    return 1;
}

int cli_list_next(cli_list *list, cli_output *out) {
    if (list->state == LIST_BEGIN) {
        list_skip_space(list);
        if (list_peek(list) != '[') {
            list->state = LIST_END;
            if (list->offset == list->text.size) return 0;
            cli_put_slice(out, list->text);
            return 1;
        }
        list->offset++;
        list->state = LIST_FIRST;
    }
    while (list->state != LIST_END) {
        int more = list_advance(list);
        if (more <= 0) return more;
        size_t before = out->size;
        int c = list_peek(list);
        int good = c == '"' || c == '\'' ? list_quoted(list, c, out) : list_bare(list, out);
        if (!good) return -1;
        if (out->size > before) return 1; // empty strings and nulls name nothing
    }
    return 0;
}
