/* Mistakes on purpose. The product knows nothing of them: the simulated Redis loads a script with one place changed. A
 * place that is not found, or found twice, is reported by leaving `mutated` at 0: the mutant must be brought up to
 * date. */
#include <string.h>

#include "sim_world_internal.h"

static const struct {
    const char *name, *from, *to; /* from NULL: not in a script; see sim_check.c and sim_world.c */
} mutants[SIM_MUTANT_COUNT] = {
    [SIM_MUTANT_NONE] = {"none", NULL, NULL},
    [SIM_MUTANT_FINISH_ANY_TOKEN] = {"finish takes any token", "job.token == ARGV[at + 1] and ", ""},
    [SIM_MUTANT_RENEW_ANY_TOKEN] = {"renew takes any token", " or job.token ~= ARGV[at + 1]", ""},
    [SIM_MUTANT_SEQ_STANDS_STILL] = {"seq is not bumped", "job.seq = (job.seq or 0) + 1",
                                     "job.seq = job.seq > 0 and job.seq or 1"},
    [SIM_MUTANT_ATTEMPT_NOT_WRITTEN] = {"a retry does not write its attempt", "'attempt', job.attempt, 'crashes'",
                                        "'crashes'"},
    [SIM_MUTANT_OFFSETS_IGNORED] = {"ingest ignores offsets", "offset < next_offset[place]", "false"},
    [SIM_MUTANT_CONFLICT_IGNORED] = {"another body is a duplicate", "spec == c.spec", "true"},
    [SIM_MUTANT_READY_NOT_LEFT] = {"an ended job stays ready", "zrem('ready:' .. job.model, job.id)", ""},
    [SIM_MUTANT_TOMBSTONE_IGNORED] = {"tombstones are ignored", "tombstones and call('ZSCORE'",
                                      "false and call('ZSCORE'"},
    [SIM_MUTANT_CANCEL_FORGOTTEN] =
        {"a lost worker undoes a cancel",
         "if job.cancel_requested then return finish_cancelled(job) end\n  if tonumber(job.crashes)",
         "if tonumber(job.crashes)"},
    [SIM_MUTANT_OUTBOX_LOST] = {"a batch forgets its first event", "unpack(OUT, at, to))",
                                "unpack(OUT, to - at > 1 and at + 2 or at, to))"},
    [SIM_MUTANT_TRIM_EARLY] = {"the relay trims before the acknowledgement", NULL, NULL},
    [SIM_MUTANT_PRODUCER_GAPS] = {"the producer goes on behind a failure", NULL, NULL},
    [SIM_MUTANT_READER_SKIPS] = {"the reader skips what it was not given", NULL, NULL},
    [SIM_MUTANT_RETRY_UNDOES_CANCEL] = {"a retry undoes a cancel", "outcome == 'X' or job.cancel_requested",
                                        "outcome == 'X'"},
    [SIM_MUTANT_TOO_LATE_SILENT] = {"a cancel that comes too late is not refused",
                                    "return reject(c, 'too_late', ERRORS.too_late)", "return DUPLICATE"},
};

const char *sim_mutant_name(enum sim_mutant mutant) { return mutants[mutant].name; }

char *sim_mutant__rewrite(void *self, const char *text) {
    struct sim_world *world = self;
    const char *from = mutants[world->mutant].from, *to = mutants[world->mutant].to;
    const char *at = from ? strstr(text, from) : NULL;
    if (!at || strstr(at + 1, from)) return NULL;
    world->result->mutated++;
    struct buf out = {0};
    buf_append(&out, text, (size_t)(at - text));
    buf_puts(&out, to);
    buf_puts(&out, at + strlen(from));
    return out.data; /* the reader's to free */
}
