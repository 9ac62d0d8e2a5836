/* Whoever sends commands: creates of every shape, sent twice, changed, cancelled before and after, and garbage. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "sim_world_internal.h"

const char *const sim_world__models[SIM_MODELS] = {"wide", "single", "nobody"};

static uint64_t draw(struct sim_world *world, uint64_t n) { return sim_rng_below(&world->rng, n); }
static bool chance(struct sim_world *world, unsigned per_mille) { return sim_rng_chance(&world->rng, per_mille); }

static struct sim_command *send(struct sim_world *world, enum sim_command_kind kind, int job, const char *topic,
                                const char *key, const char *value) {
    struct sim_command *cmd = &world->commands[world->command_count++];
    *cmd = (struct sim_command){.kind = kind, .job = job};
    cmd->at = sim_bus_append(world->bus, topic, key, value);
    if (world->print)
        printf("%11" PRId64 " client: %s[%d] %" PRId64 " %s\n", world->now_us / 1000 % 100000000, topic,
               (int)cmd->at.partition, cmd->at.offset, value);
    return cmd;
}

static struct sim_job *new_job(struct sim_world *world) {
    struct sim_job *job = &world->jobs[world->job_count];
    *job = (struct sim_job){.first_create = -1, .first_cancel = -1};
    snprintf(job->id, sizeof job->id, "job-%zu", world->job_count++);
    job->poison = chance(world, 40);
    return job;
}

static void put_parameters(struct sim_world *world, struct buf *out) {
    buf_puts(out, "\"parameters\":{");
    switch (draw(world, 6)) {
    case 0:
        buf_printf(out, "\"fake_fail_attempts\":%d", (int)draw(world, 4));
        break;
    case 1:
        buf_puts(out, "\"fake_fail\":\"invalid_input\"");
        break;
    case 2:
        buf_printf(out, "\"fake_steps\":%d", (int)draw(world, 4));
        break;
    default:
        buf_puts(out, "\"x\":1");
    }
    buf_puts(out, "}");
}

static void write_body(struct sim_world *world, struct sim_job *job) {
    struct buf out = {0};
    const char *model = sim_world__models[chance(world, 80) ? 2 : draw(world, 2)];
    buf_printf(&out, "{\"type\":\"create\",\"job_id\":\"%s\",\"model\":\"%s\",", job->id, model);
    buf_printf(&out, "\"inputs\":[{\"name\":\"x\",\"shape\":[1],\"datatype\":\"INT32\",\"data\":[%d]}],",
               (int)draw(world, 100));
    put_parameters(world, &out);
    if (chance(world, 500)) buf_printf(&out, ",\"priority\":%d", (int)draw(world, 10));
    if (chance(world, 300)) buf_printf(&out, ",\"timeout_ms\":%d", 50 + (int)draw(world, 2000));
    if (strcmp(model, "nobody") == 0 || chance(world, 100))
        buf_printf(&out, ",\"queue_timeout_ms\":%d", 200 + (int)draw(world, 10000));
    if (chance(world, 300)) buf_printf(&out, ",\"max_attempts\":%d", 1 + (int)draw(world, 3));
    if (chance(world, 200)) {
        char at[25];
        clock_format_rfc3339(world->now_us / 1000 + (int64_t)draw(world, 8000) - 1000, at);
        buf_printf(&out, ",\"not_before\":\"%s\"", at);
    }
    buf_puts(&out, "}");
    BUG_ON(out.len >= sizeof job->body);
    memcpy(job->body, out.data, out.len + 1);
    buf_done(&out);
}

static void create(struct sim_world *world, struct sim_job *job) {
    int index = (int)world->command_count;
    char body[sizeof job->body + 32];
    bool other = job->body[0] && chance(world, 400);
    if (!job->body[0]) write_body(world, job);
    snprintf(body, sizeof body, "%s", job->body);
    if (other) snprintf(strrchr(body, '}'), 32, ",\"labels\":{\"n\":\"%d\"}}", index);
    send(world, COMMAND_CREATE, (int)(job - world->jobs), SIM_COMMANDS, job->id, body)->other_body = other;
    if (job->first_create < 0) job->first_create = index;
}

static void cancel(struct sim_world *world, struct sim_job *job) {
    const char *topic = chance(world, 500) ? SIM_CONTROL : SIM_COMMANDS;
    int index = (int)world->command_count;
    char value[96];
    snprintf(value, sizeof value, "{\"type\":\"cancel\",\"job_id\":\"%s\",\"reason\":\"enough\"}", job->id);
    send(world, COMMAND_CANCEL, (int)(job - world->jobs), topic, job->id, value);
    if (job->first_cancel < 0 && strcmp(topic, SIM_COMMANDS) == 0) job->first_cancel = index;
}

static void garbage(struct sim_world *world) {
    static const struct {
        const char *key, *value;
    } bad[] = {{NULL, ""},
               {"k", "no json"},
               {"job-1", "{\"type\":\"create\",\"job_id\":\"job-1\"}"},
               {"job-2", "{\"type\":\"cancel\",\"job_id\":\"job-3\"}"},
               {NULL, "{\"type\":\"create\",\"job_id\":\"sp ace\",\"model\":\"wide\",\"inputs\":[]}"},
               {"job-4", "{\"type\":\"create\",\"job_id\":\"job-4\",\"model\":\"wide\",\"inputs\":[],\"colour\":1}"}};
    size_t i = draw(world, sizeof bad / sizeof bad[0]);
    send(world, COMMAND_MALFORMED, -1, SIM_COMMANDS, bad[i].key, bad[i].value);
}

void sim_client__submit_long(struct sim_world *world) {
    struct sim_job *job = new_job(world);
    job->poison = false;
    snprintf(job->body, sizeof job->body,
             "{\"type\":\"create\",\"job_id\":\"%s\",\"model\":\"single\",\"timeout_ms\":3600000}", job->id);
    job->first_create = (int)world->command_count;
    send(world, COMMAND_CREATE, (int)(job - world->jobs), SIM_COMMANDS, job->id, job->body);
}

void sim_client__submit(struct sim_world *world) {
    if (world->command_count == SIM_COMMANDS_MAX) return;
    struct sim_job *any = world->job_count ? &world->jobs[draw(world, world->job_count)] : NULL;
    uint64_t what = draw(world, 100);
    if (what < 10)
        garbage(world);
    else if (what < 30 && any)
        cancel(world, any);
    else if (what < 50 && any)
        create(world, any);
    else if (world->job_count == SIM_JOBS)
        return;
    else if (what < 55)
        cancel(world, new_job(world));
    else
        create(world, new_job(world));
}
