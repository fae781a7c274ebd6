// SPDX-License-Identifier: Apache-2.0
#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

// The reference: decode to a code point and look at its range. Slow and plain.
static bool reference_is_utf8(const uint8_t *at, size_t left) {
    while (left > 0) {
        size_t size = at[0] < 0x80       ? 1
                      : at[0] >> 5 == 6  ? 2
                      : at[0] >> 4 == 14 ? 3
                      : at[0] >> 3 == 30 ? 4
                                         : 0;
        if (size == 0 || size > left) return false;
        uint32_t point = size == 1 ? at[0] : at[0] & (0x7fu >> size);
        for (size_t i = 1; i < size; i++) {
            if (at[i] >> 6 != 2) return false;
            point = point << 6 | (at[i] & 0x3f);
        }
        static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
        if (point < least[size] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) return false;
        at += size;
        left -= size;
    }
    return true;
}

static bool reference_is_plain(const uint8_t *at, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (at[i] < 0x20 || at[i] == 0x7f) return false;
    }
    return reference_is_utf8(at, size);
}

static void known_texts_are_judged_right(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool is_utf8;
    } cases[] = {
        {"", true},
        {"plain", true},
        {"gr\xc3\xbc\xc3\x9f", true},
        {"\xe2\x82\xac", true},             // U+20AC
        {"\xf0\x9f\x98\x80", true},         // U+1F600
        {"\xf4\x8f\xbf\xbf", true},         // U+10FFFF
        {"\xed\x9f\xbf\xee\x80\x80", true}, // next to the surrogates
        {"\xc0\x80", false},                // overlong NUL
        {"\xc1\xbf", false},
        {"\xe0\x9f\xbf", false},     // overlong
        {"\xf0\x8f\xbf\xbf", false}, // overlong
        {"\xed\xa0\x80", false},     // surrogate
        {"\xed\xbf\xbf", false},
        {"\xf4\x90\x80\x80", false}, // above U+10FFFF
        {"\xf5\x80\x80\x80", false},
        {"\x80", false},
        {"\xff", false},
        {"\xc3", false}, // cut
        {"\xe2\x82", false},
        {"\xf0\x9f\x98", false},
        {"\xc3(", false},
        {"\xe2(\xa1", false},
        {"abcdefgh\xc3", false},
        {"abcdefg\xc3\xa4hijklmnop", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(dbk_is_utf8(daybook_text(cases[i].text)), cases[i].is_utf8);
        assert_int_equal(dbk_is_plain_text(daybook_text(cases[i].text)), cases[i].is_utf8);
    }
}

static void all_three_byte_prefixes_agree_with_the_reference(void **state) {
    (void)state;
    static const uint8_t last[] = {0x00, 0x1f, 0x20, 0x7e, 0x7f, 0x80, 0x8f, 0x9f, 0xbf, 0xc0, 0xff};
    for (unsigned first = 0; first < 256; first++) {
        for (unsigned second = 0; second < 256; second++) {
            for (size_t i = 0; i < sizeof last; i++) {
                uint8_t bytes[4] = {(uint8_t)first, (uint8_t)second, last[i], 0x80};
                for (size_t size = 1; size <= 4; size++) {
                    dbk_slice text = daybook_bytes(bytes, size);
                    if (dbk_is_utf8(text) != reference_is_utf8(bytes, size)) fail();
                    if (dbk_is_plain_text(text) != reference_is_plain(bytes, size)) fail();
                }
            }
        }
    }
}

static void every_byte_at_every_place_of_a_word_agrees_with_the_reference(void **state) {
    (void)state;
    for (size_t place = 0; place < 19; place++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            uint8_t bytes[19];
            memset(bytes, 'a', sizeof bytes);
            bytes[place] = (uint8_t)byte;
            dbk_slice text = daybook_bytes(bytes, sizeof bytes);
            if (dbk_is_utf8(text) != reference_is_utf8(bytes, sizeof bytes)) fail();
            if (dbk_is_plain_text(text) != reference_is_plain(bytes, sizeof bytes)) fail();
        }
    }
}

static void control_characters_are_not_plain(void **state) {
    (void)state;
    assert_true(dbk_is_utf8(daybook_bytes("a\0b", 3)));
    assert_false(dbk_is_plain_text(daybook_bytes("a\0b", 3)));
    assert_false(dbk_is_plain_text(daybook_text("line\nbreak")));
    assert_false(dbk_is_plain_text(daybook_text("tab\there, and more behind it")));
    assert_false(dbk_is_plain_text(daybook_text("\x7f")));
    assert_true(dbk_is_plain_text(daybook_text(" ~ and some more text to fill words")));
    assert_true(dbk_is_plain_text(daybook_text("\xc2\x80"))); // U+0080 is no byte below 0x20
    assert_true(dbk_is_plain_text(daybook_bytes(NULL, 0)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_texts_are_judged_right),
        cmocka_unit_test(all_three_byte_prefixes_agree_with_the_reference),
        cmocka_unit_test(every_byte_at_every_place_of_a_word_agrees_with_the_reference),
        cmocka_unit_test(control_characters_are_not_plain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
