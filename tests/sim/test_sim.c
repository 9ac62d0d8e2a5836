/* Every promise, for every seed. PENSTOCK_TEST_SEEDS=n runs n seeds, PENSTOCK_TEST_SEED=k only that one and prints its
 * trace. */
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

#define LONG_SEEDS 3

static struct worker_models *models;
static struct sim_result total; /* counts over all seeds */
static uint64_t seeds;

static int load_models(void **state) {
    log_setup(LOG_LEVEL_OFF, LOG_FORMAT_TEXT);
    models = sim_models_load();
    return 0;
}

static int free_models(void **state) {
    worker_models_free(models);
    return 0;
}

static void run_twice(uint64_t seed) {
    struct sim_result first, second;
    sim_run(seed, SIM_MUTANT_NONE, models, false, &first);
    if (first.failure[0]) fail_msg("seed %llu: %s", (unsigned long long)seed, first.failure);
    sim_run(seed, SIM_MUTANT_NONE, models, false, &second);
    if (first.hash != second.hash) fail_msg("seed %llu does not repeat itself", (unsigned long long)seed);
    for (int i = 0; i < SIM_COUNT_COUNT; i++) total.counts[i] += first.counts[i];
}

static void test_every_seed_keeps_every_promise_and_repeats_itself(void **state) {
    const char *one = getenv("PENSTOCK_TEST_SEED"), *many = getenv("PENSTOCK_TEST_SEEDS");
    if (one) {
        struct sim_result result;
        sim_run(strtoull(one, NULL, 10), SIM_MUTANT_NONE, models, true, &result);
        assert_string_equal(result.failure, "");
        return;
    }
    seeds = many ? strtoull(many, NULL, 10) : SIM_SEEDS;
    for (uint64_t seed = 1; seed <= seeds; seed++) run_twice(seed);
    for (int i = 0; i < SIM_COUNT_COUNT; i++)
        print_message("%s: %llu\n", sim_count_names[i], (unsigned long long)total.counts[i]);
}

/* A world in which nothing goes wrong proves nothing. */
static void test_the_seeds_together_meet_every_kind_of_trouble(void **state) {
    if (seeds < SIM_SEEDS) skip();
    for (int i = 0; i < SIM_COUNT_COUNT; i++)
        if (total.counts[i] == 0) fail_msg("no seed met: %s", sim_count_names[i]);
}

/* Half an hour on a lease of two seconds: some 2,700 renewals. */
static void test_job_of_half_an_hour_is_executed_once_through_rebalances_restarts_and_cut_connections(void **state) {
    struct sim_result result;
    for (uint64_t seed = 1; seed <= LONG_SEEDS; seed++) {
        sim_run_long(seed, 2000, 30 * 60 * 1000, models, &result);
        if (result.failure[0]) fail_msg("seed %llu: %s", (unsigned long long)seed, result.failure);
        assert_int_equal(result.counts[SIM_COUNT_COMPLETED], 1);
        assert_int_equal(result.counts[SIM_COUNT_RUNS], 1);
        assert_int_equal(result.counts[SIM_COUNT_CRASH], 0);
    }
}

static void test_another_seed_is_another_world(void **state) {
    struct sim_result a, b;
    sim_run(1, SIM_MUTANT_NONE, models, false, &a);
    sim_run(2, SIM_MUTANT_NONE, models, false, &b);
    assert_true(a.hash != b.hash);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_seed_keeps_every_promise_and_repeats_itself),
        cmocka_unit_test(test_the_seeds_together_meet_every_kind_of_trouble),
        cmocka_unit_test(test_job_of_half_an_hour_is_executed_once_through_rebalances_restarts_and_cut_connections),
        cmocka_unit_test(test_another_seed_is_another_world),
    };
    return cmocka_run_group_tests(tests, load_models, free_models);
}
