#!/usr/bin/python3
"""mutants: mistakes on purpose, one a binary. The product knows nothing of them: CMake builds each from the sources with one
place changed, and that place must be there exactly once, or the mutant must be brought up to date.

    mutants.py list                        for CMake: one "name;file" a line
    mutants.py write NAME SOURCE_DIR OUT   the mutated file

Each is run in the profile (fault.py) that provokes it, and the verdict must then name what is wrong: a line of it has the words
of `found`.
"""
import collections
import sys
from pathlib import Path

Mutant = collections.namedtuple("Mutant", "name file old new profile found")  # found: must be among the complaints
LUA = "src/store/lua/"
MUTANTS = [
    Mutant("finish_takes_any_token", LUA + "finish.lua", "job.token == ARGV[at + 1] and ", "", "stalls",
           "gives a run back after"),
    Mutant("loss_uses_up_an_attempt", LUA + "common.lua", "  requeue(job, 'worker_lost', 0)\n",
           "  job.attempt = whole(job.attempt + 1)\n  requeue(job, 'worker_lost', 0)\n", "stalls", "verify: attempt: "),
    Mutant("trims_before_the_acknowledgement", "src/relay/relay.c", "flight_of(relay, first)->waiting == 0", "true",
           "controls", "verify: sequence: "),
    Mutant("offsets_not_stored", LUA + "ingest.lua", "call('HSET', P .. 'ingest', place, offset)",
           "call('HSETNX', P .. 'ingest', place, offset)", "controls", "verify: unended: "),
    Mutant("seq_stands_still", LUA + "common.lua", "job.seq = (job.seq or 0) + 1", "job.seq = job.seq > 0 and job.seq or 1",
           "calm", "verify: repeat: "),
    Mutant("outbox_drops_one_of_a_batch", LUA + "common.lua", "unpack(OUT, at, to))",
           "unpack(OUT, to - at > 1 and at + 2 or at, to))", "calm", "verify: sequence: "),
    Mutant("renewal_prolongs_nothing", LUA + "renew.lua", "NOW + tonumber(ARGV[2])", "NOW", "calm",
           "was taken from a sound worker"),
    Mutant("conflict_taken_for_a_repeat", LUA + "ingest.lua", "spec == c.spec", "true", "calm", "verify: command: "),
    Mutant("tombstone_not_looked_at", LUA + "ingest.lua", "tombstones and call('ZSCORE'", "false and call('ZSCORE'", "calm",
           "must be cancelled before anything else"),
    Mutant("every_failure_is_tried_again", LUA + "finish.lua", "if retryable and ", "if ", "calm", "must have used 1 attempts"),
    Mutant("delay_not_kept", LUA + "common.lua", "if job.not_before > NOW then", "if false then", "calm",
           "ran before its time"),
    Mutant("attempt_not_written", LUA + "common.lua", "'attempt', job.attempt, 'crashes'", "'crashes'", "calm",
           "verify: attempt: "),
]


def write(name, source_dir, out):
    mutant = next(mutant for mutant in MUTANTS if mutant.name == name)
    text = (Path(source_dir) / mutant.file).read_text()
    places = text.count(mutant.old)
    if places != 1:
        sys.exit(f"mutants.py: {name}: {mutant.file} has {mutant.old!r} {places} times, not once: bring the mutant up to date")
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    Path(out).write_text(text.replace(mutant.old, mutant.new))


if __name__ == "__main__":
    if sys.argv[1:] == ["list"]:
        print("\n".join(f"{mutant.name};{mutant.file}" for mutant in MUTANTS))
    elif sys.argv[1:2] == ["write"] and len(sys.argv) == 5:
        write(*sys.argv[2:])
    else:
        sys.exit(__doc__)
