// SPDX-License-Identifier: Apache-2.0
// Consumer scenarios, as tables, against the library and against nats-server:
//
//     test_scenarios daybook tables/*.txt
//     test_scenarios nats tables/*.txt       DAYBOOK_NATS_SERVER=<program> names another than the one found
//
// DAYBOOK_SCENARIO=<text> only those with this text; DAYBOOK_TRACE=1 every line with what came of it.
#include <stdio.h>
#include <string.h>

#include "scenarios/runner.h"

enum { LANES = 8, SKIPPED = 77 };

static int run(const char *against, const scenario_set *set) {
    scenario_driver driver;
    char why[WHY_SIZE];
    if (strcmp(against, "daybook") == 0) {
        scenario_driver_library(&driver);
        return scenarios_run(set, &driver, LANES);
    }
#ifdef DAYBOOK_WITH_NATS
    if (!scenario_driver_nats(&driver, why)) {
        printf("SKIP: %s\n", why);
        return SKIPPED;
    }
    int status = scenarios_run(set, &driver, LANES);
    scenario_driver_nats_stop(&driver);
    return status;
#else
    printf("SKIP: built without libnats and jansson (Debian: libnats-dev)\n");
    return SKIPPED;
#endif
}

int main(int argc, char **argv) {
    if (argc < 3 || (strcmp(argv[1], "daybook") != 0 && strcmp(argv[1], "nats") != 0)) {
        (void)fprintf(stderr, "usage: test_scenarios daybook|nats FILE…\n");
        return 2;
    }
    scenario_set set = {0};
    for (int i = 2; i < argc; i++) scenario_set_read(&set, argv[i]);
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    int status = run(argv[1], &set);
    scenario_set_free(&set);
    return status;
}
