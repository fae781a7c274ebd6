// SPDX-License-Identifier: Apache-2.0
// Tokens and bodies are read in one pass, without copies.
#include "proto/ack.h"

#include <string.h>

#include "base/bytes.h"

enum {
    TOKEN_COUNT_MAX = 12, // more are one with the last: what stands behind v2 is anybody's
    V1_TOKENS = 9,
    V2_TOKENS = 11,
    NUMBER_TOKENS = 5
};

static char *put_name(char *out, dbk_slice name) {
    if (name.size > 0) memcpy(out, name.data, name.size);
    out += name.size;
    *out = '.';
    return out + 1;
}

size_t dbk_ack_prefix_encode(const dbk_ack_subject *names, char *out) {
    static const char start[] = "$JS.ACK.";
    if (names->domain.size > DBK_ACK_NAME_SIZE_MAX || names->account_hash.size > DBK_ACK_NAME_SIZE_MAX ||
        names->stream.size > DBK_ACK_NAME_SIZE_MAX || names->consumer.size > DBK_ACK_NAME_SIZE_MAX)
        return 0;
    char *at = out;
    memcpy(at, start, sizeof start - 1);
    at += sizeof start - 1;
    if (names->account_hash.size > 0) {
        at = put_name(at, names->domain.size > 0 ? names->domain : daybook_bytes("_", 1));
        at = put_name(at, names->account_hash);
    }
    at = put_name(at, names->stream);
    at = put_name(at, names->consumer);
    return (size_t)(at - out);
}

size_t dbk_ack_numbers_encode(const dbk_ack_subject *ack, char *out) {
    const uint64_t numbers[NUMBER_TOKENS] = {ack->delivered, ack->stream_sequence, ack->consumer_sequence,
                                             ack->time_ns < 0 ? 0 : (uint64_t)ack->time_ns, ack->pending};
    char *at = out;
    for (size_t i = 0; i < NUMBER_TOKENS; i++) {
        if (i > 0) *at++ = '.';
        at += dbk_decimal_format(numbers[i], at);
    }
    return (size_t)(at - out);
}

// Empty tokens count; the number is TOKEN_COUNT_MAX at most.
static size_t split(dbk_slice subject, dbk_slice tokens[TOKEN_COUNT_MAX]) {
    const char *at = subject.data, *end = at + subject.size;
    size_t count = 0;
    while (count < TOKEN_COUNT_MAX) {
        const char *dot = at == end ? NULL : memchr(at, '.', (size_t)(end - at));
        if (dot == NULL || count == TOKEN_COUNT_MAX - 1) dot = end;
        tokens[count++] = daybook_bytes(at, (size_t)(dot - at));
        if (dot == end) break;
        at = dot + 1;
    }
    return count;
}

static bool take_numbers(const dbk_slice *tokens, dbk_ack_subject *ack) {
    uint64_t time_ns;
    if (!dbk_decimal_parse(tokens[0], &ack->delivered) ||
        !dbk_decimal_parse(tokens[1], &ack->stream_sequence) ||
        !dbk_decimal_parse(tokens[2], &ack->consumer_sequence) || !dbk_decimal_parse(tokens[3], &time_ns) ||
        !dbk_decimal_parse(tokens[4], &ack->pending) || time_ns > INT64_MAX)
        return false;
    ack->time_ns = (int64_t)time_ns;
    return true;
}

bool dbk_ack_subject_decode(dbk_slice subject, dbk_ack_subject *ack_out) {
    dbk_slice tokens[TOKEN_COUNT_MAX];
    dbk_ack_subject ack = {0};
    if (subject.size == 0) return false;
    size_t count = split(subject, tokens), first = 2;
    if (count != V1_TOKENS && count < V2_TOKENS) return false;
    if (!dbk_slice_equal(tokens[0], daybook_bytes("$JS", 3)) ||
        !dbk_slice_equal(tokens[1], daybook_bytes("ACK", 3)))
        return false;
    if (count >= V2_TOKENS) {
        if (!dbk_slice_equal(tokens[2], daybook_bytes("_", 1))) ack.domain = tokens[2];
        ack.account_hash = tokens[3];
        ack.is_v2 = true;
        first = 4;
    }
    ack.stream = tokens[first];
    ack.consumer = tokens[first + 1];
    if (ack.stream.size == 0 || ack.consumer.size == 0 || !take_numbers(tokens + first + 2, &ack))
        return false;
    *ack_out = ack;
    return true;
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static dbk_slice trim(const char *at, const char *end) {
    while (at < end && is_blank(*at)) at++;
    while (end > at && is_blank(end[-1])) end--;
    return daybook_bytes(at, (size_t)(end - at));
}

// Behind a string's opening quotation mark: up to and over the closing one.
static bool skip_string(const char **at, const char *end, dbk_slice *content_out) {
    const char *start = *at;
    for (; *at < end; (*at)++) {
        if (**at == '"') {
            *content_out = daybook_bytes(start, (size_t)(*at - start));
            (*at)++;
            return true;
        }
        if (**at == '\\' && *at + 1 < end) (*at)++;
    }
    return false;
}

// Over a value, nested ones included, up to the comma or bracket that ends it.
static bool skip_value(const char **at, const char *end) {
    size_t depth = 0;
    dbk_slice unused;
    while (*at < end) {
        char c = **at;
        if (depth == 0 && (c == ',' || c == '}')) return true;
        (*at)++;
        if (c == '"' && !skip_string(at, end, &unused)) return false;
        if (c == '{' || c == '[') depth++;
        if (c == '}' || c == ']') {
            if (depth == 0) return false;
            depth--;
        }
    }
    return false;
}

static void skip_blanks(const char **at, const char *end) {
    while (*at < end && is_blank(**at)) (*at)++;
}

static bool is_delay(dbk_slice name) {
    static const char word[] = "delay";
    const char *text = name.data;
    if (name.size != sizeof word - 1) return false;
    for (size_t i = 0; i < name.size; i++) {
        if ((text[i] | 0x20) != word[i]) return false;
    }
    return true;
}

static bool take_integer(dbk_slice text, int64_t *number_out) {
    const char *digits = text.data;
    bool is_negative = text.size > 0 && digits[0] == '-';
    uint64_t number;
    if (is_negative) text = daybook_bytes(digits + 1, text.size - 1);
    if (!dbk_decimal_parse(text, &number) || number > INT64_MAX) return false;
    *number_out = is_negative ? -(int64_t)number : (int64_t)number;
    return true;
}

// {"delay": 5000}: nanoseconds. Other members are passed over, not judged; the last of several delays counts.
static bool read_delay_object(dbk_slice text, int64_t *delay_ns_out) {
    const char *at = (const char *)text.data + 1, *end = at + text.size - 1;
    for (;;) {
        dbk_slice name;
        skip_blanks(&at, end);
        if (at < end && *at == '}') break;
        if (at == end || *at++ != '"' || !skip_string(&at, end, &name)) return false;
        skip_blanks(&at, end);
        if (at == end || *at++ != ':') return false;
        skip_blanks(&at, end);
        const char *value = at;
        if (!skip_value(&at, end)) return false;
        if (is_delay(name) && !take_integer(trim(value, at), delay_ns_out)) return false;
        if (*at == ',') at++; // skip_value stops at nothing but this and a bracket
    }
    return at + 1 == end;
}

static bool begins_with(dbk_slice body, const char *word, size_t size) {
    return body.size >= size && memcmp(body.data, word, size) == 0;
}

static void read_delay(dbk_ack_body *ack) {
    const char *text = ack->text.data;
    int64_t delay_ns = 0;
    if (ack->text.size == 0) return;
    bool is_good = text[0] == '{' ? read_delay_object(ack->text, &delay_ns)
                                  : dbk_go_duration_parse(ack->text, &delay_ns);
    ack->is_delay_garbled = !is_good;
    ack->delay_ns = is_good ? delay_ns : 0;
}

dbk_ack_body dbk_ack_body_read(dbk_slice body) {
    static const struct {
        const char *word;
        uint8_t size;
        bool takes_text;
        dbk_ack_kind kind;
    } words[] = {
        {"+ACK", 4, false, DBK_ACK_DONE},     {"+OK", 3, false, DBK_ACK_DONE},
        {"-NAK", 4, true, DBK_ACK_AGAIN},     {"+NXT", 4, true, DBK_ACK_NEXT},
        {"+WPI", 4, false, DBK_ACK_PROGRESS}, {"+TERM", 5, true, DBK_ACK_TERM},
    };
    dbk_ack_body ack = {.kind = DBK_ACK_DONE};
    if (body.size == 0) return ack;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t size = words[i].size;
        if (!begins_with(body, words[i].word, size) || (!words[i].takes_text && body.size != size)) continue;
        const char *text = body.data;
        ack.kind = words[i].kind;
        ack.text = trim(text + size, text + body.size);
        if (ack.kind == DBK_ACK_AGAIN) read_delay(&ack);
        return ack;
    }
    ack.kind = DBK_ACK_UNKNOWN;
    return ack;
}
