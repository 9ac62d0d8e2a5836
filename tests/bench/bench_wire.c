/* What wire costs per message: ns for decoding a command, decoding its spec, encoding and decoding an event.
 * Run it in a release build: build/release/tests/bench_wire [seconds per case] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "penstock/clock.h"
#include "penstock/wire.h"

#define PIXELS          64
#define ROUNDS_PER_LOOK 256

struct bench {
    struct arena arena;
    struct wire_message message;
    struct job_command cmd;
    struct job_event created, claimed;
    struct wire_event_out encoded;
};

static void must(int rc, const struct err *err) {
    if (rc == 0) return;
    fprintf(stderr, "bench_wire: %s\n", err->msg);
    exit(1);
}

static void run_command_decode(struct bench *b) {
    struct err err;
    must(wire_command_decode(&b->message, &b->arena, &b->cmd, NULL, &err), &err);
}

static void run_spec_decode(struct bench *b) {
    struct err err;
    struct wire_request request;
    must(wire_spec_decode(b->cmd.spec, b->cmd.spec_len, &b->arena, &request, &err), &err);
}

static void run_created_encode(struct bench *b) {
    struct wire_event_out out;
    wire_event_encode(&b->created, "/penstock", &b->arena, &out);
}

static void run_claimed_encode(struct bench *b) {
    struct wire_event_out out;
    wire_event_encode(&b->claimed, "/penstock", &b->arena, &out);
}

static void run_created_decode(struct bench *b) {
    struct err err;
    struct job_event ev;
    must(wire_event_decode(b->encoded.value, b->encoded.value_len, &b->arena, &ev, &err), &err);
}

static void run_result_encode(struct bench *b) {
    float logits[10] = {0.1f, -3.25f, 12.5371f, 1e-7f, 0.33333334f, 7.0f, -0.0625f, 2.7182817f, 1234.567f, -9.75f};
    struct tensor output = {"logits", DATATYPE_FP32, 2, {1, 10}, logits, sizeof logits};
    struct buf out = {0};
    wire_result_encode("digits", "1", &output, NULL, 1, &out);
    buf_done(&out);
}

/* Everything that a case allocates goes after each round, as a batch's would; what the other cases need lives
 * elsewhere. */
static void measure(const char *name, void (*run)(struct bench *), struct bench *b, double seconds) {
    int64_t start_us = clock_mono_us(&clock_system), now_us = start_us;
    long rounds = 0;
    while ((double)(now_us - start_us) < seconds * 1e6) {
        for (int i = 0; i < ROUNDS_PER_LOOK; i++) {
            run(b);
            arena_reset(&b->arena);
        }
        rounds += ROUNDS_PER_LOOK;
        now_us = clock_mono_us(&clock_system);
    }
    printf("%-28s %8.0f ns\n", name, 1e3 * (double)(now_us - start_us) / (double)rounds);
}

static void make_command(struct buf *out) {
    buf_puts(
        out,
        "{\"type\":\"create\",\"job_id\":\"01J9ZK4T6W8Q2M5N7P0R3S1V4X\",\"model\":\"digits\",\"inputs\":[{\"name\":"
        "\"image\",\"shape\":[1,1,8,8],\"datatype\":\"FP32\",\"data\":[");
    for (int i = 0; i < PIXELS; i++) buf_printf(out, "%s%.9g", i ? "," : "", (i * 7 % 17) / 16.0);
    buf_puts(out, "]}],\"priority\":4,\"timeout_ms\":30000,\"labels\":{\"tenant\":\"a\"}}");
}

int main(int argc, char **argv) {
    double seconds = argc > 1 ? atof(argv[1]) : 1.0;
    struct bench b = {0};
    struct arena kept;
    struct buf text = {0};
    struct err err;
    arena_init(&kept);
    make_command(&text);
    b.message = (struct wire_message){.value = text.data, .value_len = text.len};
    struct job_command cmd;
    must(wire_command_decode(&b.message, &kept, &cmd, NULL, &err), &err);
    b.created = (struct job_event){.job_id = cmd.job_id,
                                   .seq = 1,
                                   .to = JOB_STATE_QUEUED,
                                   .at = 1790000000123,
                                   .attempt = 1,
                                   .max_attempts = 3,
                                   .priority = 4,
                                   .model = "digits",
                                   .model_version = "1",
                                   .reason = "create",
                                   .timeout_ms = 30000,
                                   .source = {"penstock.commands", 3, 123456},
                                   .doc = cmd.spec,
                                   .doc_len = cmd.spec_len};
    b.claimed = (struct job_event){.job_id = cmd.job_id,
                                   .seq = 2,
                                   .from = JOB_STATE_QUEUED,
                                   .to = JOB_STATE_RUNNING,
                                   .at = 1790000000456,
                                   .attempt = 1,
                                   .max_attempts = 3,
                                   .priority = 4,
                                   .worker = "host-1:gpu0",
                                   .token = "3-1234567",
                                   .reason = "claim"};
    wire_event_encode(&b.created, "/penstock", &kept, &b.encoded);
    printf("command of %zu bytes, spec of %zu bytes\n", text.len, cmd.spec_len);
    measure("command decode", run_command_decode, &b, seconds);
    b.cmd = cmd;
    measure("spec decode", run_spec_decode, &b, seconds);
    measure("event encode (queued)", run_created_encode, &b, seconds);
    measure("event encode (running)", run_claimed_encode, &b, seconds);
    measure("event decode (queued)", run_created_decode, &b, seconds);
    measure("result encode (10 floats)", run_result_encode, &b, seconds);
    arena_done(&b.arena);
    arena_done(&kept);
    buf_done(&text);
    return 0;
}
