/* Each mistake must be caught within the seeds that the product passes: proof that the checks can fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "penstock/log.h"
#include "sim_world.h"

#define SEEDS 200 /* as many as test_sim runs without a sanitizer; the first that catches the mistake ends it */

static struct worker_models *models;

static int load_models(void **state) {
    log_setup(LOG_LEVEL_OFF, LOG_FORMAT_TEXT);
    models = sim_models_load();
    return 0;
}

static int free_models(void **state) {
    worker_models_free(models);
    return 0;
}

static void test_mutant_is_caught(void **state) {
    enum sim_mutant mutant = (enum sim_mutant)(uintptr_t)*state;
    struct sim_result result;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        sim_run(seed, mutant, models, false, &result);
        bool in_bus = mutant == SIM_MUTANT_PRODUCER_GAPS || mutant == SIM_MUTANT_READER_SKIPS;
        if (!in_bus && result.mutated == 0) fail_msg("the mutant changed nothing");
        if (!result.failure[0]) continue;
        print_message("caught by seed %llu: %s\n", (unsigned long long)seed, result.failure);
        return;
    }
    fail_msg("%d seeds and no check failed", SEEDS);
}

int main(void) {
    struct CMUnitTest tests[SIM_MUTANT_COUNT - 1];
    for (uintptr_t i = 1; i < SIM_MUTANT_COUNT; i++)
        tests[i - 1] =
            (struct CMUnitTest){sim_mutant_name((enum sim_mutant)i), test_mutant_is_caught, NULL, NULL, (void *)i};
    return cmocka_run_group_tests(tests, load_models, free_models);
}
