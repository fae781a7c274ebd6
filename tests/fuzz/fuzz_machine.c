// SPDX-License-Identifier: Apache-2.0
// State machines from a file: whatever the bytes are, they are refused with a message, or make a machine
// whose every way leads from one of its states to another, and which can be checked and drawn.
#include "daybook/machine.h"
#include "fuzz.h"

static void note_warning(void *context, daybook_slice warning) {
    (void)context;
    FUZZ_CHECK(warning.size > 0);
}

static void check(const daybook_machine *machine) {
    FUZZ_CHECK(daybook_machine_state_count(machine) > 0);
    for (size_t i = 0; i < daybook_machine_transition_count(machine); i++) {
        const daybook_transition *way = daybook_machine_transition(machine, i);
        FUZZ_CHECK(way->from.size > 0 && way->to.size > 0 && way->event.size > 0);
    }
    FUZZ_CHECK(daybook_machine_transition(machine, daybook_machine_transition_count(machine)) == NULL);
    daybook_machine_check(machine, note_warning, NULL);
    for (int drawing = DAYBOOK_DRAWING_MERMAID; drawing <= DAYBOOK_DRAWING_DOT; drawing++) {
        char *text = NULL;
        FUZZ_CHECK(daybook_machine_draw(machine, drawing, &text, NULL) == DAYBOOK_OK);
        FUZZ_CHECK(strlen(text) > 0);
        daybook_text_release(text);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    daybook_machine *machine = NULL;
    daybook_error error;
    daybook_error_init(&error);
    daybook_status status = daybook_machine_parse(daybook_bytes(data, size), "file", &machine, &error);
    FUZZ_CHECK((machine != NULL) == (status == DAYBOOK_OK));
    if (status != DAYBOOK_OK) {
        FUZZ_CHECK(status == DAYBOOK_EINVALID || status == DAYBOOK_ELIMIT);
        FUZZ_CHECK(strncmp(error.message, "file: ", 6) == 0);
        return 0;
    }
    check(machine);
    daybook_machine_free(machine);
    return 0;
}
