"""fault: one run of a plan while processes are killed and stopped, and the verdict over it.

    complaints = Run(kafka, redis, "fault", PROFILES["all"], seed=1).verdict()

As a program it runs one profile with the binary of $PENSTOCK_BUILD_DIR (which may be a mutant), on servers of its own or
on those named; the verdict is that of the binary named by --judge. Exit codes: 0 nothing is wrong, 1 something is (the lines
say what), 2 the run itself failed.

Faults are kill -9, and SIGSTOP for longer than a lease and than Kafka's session, then SIGCONT: a process that goes on as if
nothing had happened, with leases, partitions and batches that are long another's. What is dead is started again a little later,
as a supervisor would do it.
"""
import argparse
import collections
import heapq
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path

sys.path += [str(Path(__file__).resolve().parents[1] / place) for place in ("lib", "integration")]
import flow
import penstock_test as pt

import check
from plan import Plan

HERE = Path(__file__).resolve().parent
LEASE_MS = 1000
CONTROLS = 2
TICK_S = 0.02

# jobs and seconds of sending; `kill` and `stop`: who is hurt, and every how many seconds on average; weights: of the kinds of
# jobs, if not those of plan.py
Profile = collections.namedtuple("Profile", "jobs seconds kill stop weights end_s workers", defaults=[3])
EVERYBODY = ("control", "worker")
PROFILES = {
    "all": Profile(20000, 60, (EVERYBODY, 1.5), (EVERYBODY, 1.5), None, 180),
    "calm": Profile(600, 2, None, None, None, 25),
    "controls": Profile(6000, 5, (("control",), 0.7), None, None, 30),
    "stalls": Profile(240, 8, None, (("worker",), 0.2), {"plain": 2, "long": 3, "stubborn": 3}, 60, 7),  # some are idle
}


class Sender:
    """Kafka's own command-line producer, kept running: one line, one message."""

    def __init__(self, kafka, topic):
        pt.need_program("kcat", "kcat")
        self.popen = subprocess.Popen(
            ["kcat", "-P", "-b", kafka.bootstrap, "-t", topic, "-K", "\t", "-X", "acks=all", "-X",
             "enable.idempotence=true", "-X", "partitioner=murmur2_random"], stdin=subprocess.PIPE)
        self.count = 0

    def send(self, key, text):
        self.popen.stdin.write(f"{key}\t{text}\n".encode())
        self.popen.stdin.flush()
        self.count += 1

    def close(self):
        self.popen.stdin.close()
        assert self.popen.wait(60) == 0, "kcat could not produce everything"


class Victim:
    """A process of the installation that is hurt now and then."""

    def __init__(self, role, process):
        self.role, self.process, self.busy = role, process, False


class Run:
    def __init__(self, kafka, redis, name, profile, seed, judge=None, keep=True):
        self.kafka, self.redis, self.profile, self.seed = kafka, redis, profile, seed
        self.judge, self.keep = judge or pt.penstock_path(), keep
        self.rng = random.Random(seed + 1)
        self.plan = Plan(seed, profile.jobs, profile.seconds, profile.weights)
        # Without claiming ahead a run is given back for one reason alone: it was stopped at the end of its lease.
        self.house = flow.House(kafka, redis, name, models={"repository": HERE / "models"},
                                worker={"lease_ms": LEASE_MS, **({"prefetch_below_ms": 0} if profile.stop else {})},
                                jobs={"retry_backoff_ms": 20, "retry_backoff_max_ms": 100, "max_crashes": 1000})
        self.faults = collections.Counter()
        self.stood_still = {}  # by pid: [(from, to), ...], ms of the wall clock
        self.agenda, self.order = [], 0  # what is due: (time, tie, function)

    # --- the agenda: one thread, one list of what is due ---

    def due(self, at, action):
        self.order += 1
        heapq.heappush(self.agenda, (at, self.order, action))

    def work_off(self):
        """Until nothing is on the agenda any more."""
        while self.agenda:
            now = time.monotonic()
            while self.agenda and self.agenda[0][0] <= now:
                heapq.heappop(self.agenda)[2]()
            if self.agenda:
                time.sleep(max(0, min(TICK_S, self.agenda[0][0] - time.monotonic())))

    # --- faults ---

    def hurt(self, hurting, who, every_s):
        """Hurts somebody, and comes again as long as commands are sent."""
        now = time.monotonic()
        if now >= self.send_end:
            return
        sound = [victim for victim in self.victims if victim.role in who and not victim.busy]
        if sound:
            victim = self.rng.choice(sound)
            victim.busy = True
            self.faults[f"{hurting.__name__} {victim.role}"] += 1
            hurting(victim)
        self.due(now + self.rng.expovariate(1 / every_s), lambda: self.hurt(hurting, who, every_s))

    def kill(self, victim):
        victim.process.kill9()

        def start_again():
            victim.process.start()
            victim.busy = False
        self.due(time.monotonic() + self.rng.uniform(0, 0.6), start_again)

    def stop(self, victim):
        pid, began = victim.process.process.pid, flow.now_ms()
        victim.process.process.signal(signal.SIGSTOP)
        longest = 4.5 if victim.role == "control" else 2.5  # Kafka's session is 3 s, the lease 1 s

        def go_on():
            self.stood_still.setdefault(pid, []).append((began, flow.now_ms()))
            victim.process.process.signal(signal.SIGCONT)
            victim.busy = False
        self.due(time.monotonic() + self.rng.uniform(0.1, longest), go_on)

    # --- the run ---

    def start(self):
        self.victims = [Victim("control", self.house.serve("--no-workers")) for _ in range(CONTROLS)]
        self.victims += [Victim("worker", pt.Penstock("worker", self.house.settings)) for _ in range(self.profile.workers)]
        pt.wait_for(lambda: len(self.house.workers()) >= self.profile.workers, 30, "the workers are there")

    def go(self):
        senders = {"commands": Sender(self.kafka, self.house.commands), "control": Sender(self.kafka, self.house.control)}
        begin = time.monotonic()
        self.send_end = begin + self.plan.sends[-1].at
        for send in self.plan.sends:
            self.due(begin + send.at, lambda send=send: senders[send.topic].send(send.job.job_id, send.text()))
        for hurting, target in ((self.kill, self.profile.kill), (self.stop, self.profile.stop)):
            if target:
                who, every_s = target
                self.due(begin + 0.3, lambda hurting=hurting, who=who, every_s=every_s: self.hurt(hurting, who, every_s))
        self.work_off()
        for sender in senders.values():
            sender.close()
        self.sent = {getattr(self.house, topic): sender.count for topic, sender in senders.items()}

    def at_rest(self):
        """Every command taken, every job ended, every event on its way to Kafka acknowledged."""
        taken = collections.Counter()
        for place, offset in pt.redis_hash(self.redis, f"{self.house.prefix}ingest").items():
            taken[place.rsplit(":", 1)[0]] += int(offset or 0)
        return (all(taken[topic] >= count for topic, count in self.sent.items())
                and sum(self.house.count(state) for state in flow.TERMINAL) >= len(self.plan.created())
                and pt.redis_cli(self.redis, "XLEN", f"{self.house.prefix}outbox") == "0")

    def end(self):
        """Everything comes to rest, within a deadline; what is wrong if it does not."""
        dead = [victim.role for victim in self.victims if not victim.process.alive()]
        try:
            pt.wait_for(self.at_rest, self.profile.end_s, lambda: "at rest; "
                        + str({state: self.house.count(state) for state in ("queued", "running") + flow.TERMINAL}))
        except AssertionError as problem:
            return [str(problem)]
        return [f"a {role} has ended by itself" for role in dead]

    def close(self):
        logs = []
        for victim in self.victims:
            if victim.role == "worker":
                victim.process.terminate()
        for victim in self.victims:
            if victim.role == "control":
                victim.process.terminate()
            logs.append((victim.process.dir / "penstock.log").read_text(errors="replace"))
        report = flow.sanitizer_reports("\n".join(logs))
        return [report] if report else []

    def keep_evidence(self, wrong):
        """What a person needs to find out why: the logs, and all that stands in Kafka and Redis about those jobs."""
        place = Path(tempfile.mkdtemp(prefix=f"penstock-fault-{self.house.prefix[:-1]}-"))
        for number, victim in enumerate(self.victims):
            shutil.copy(victim.process.dir / "penstock.log", place / f"{victim.role}-{number}.log")
        named = {job_id for job_id in self.plan.jobs if any(job_id in line for line in wrong)}
        lines = list(wrong)
        for topic in (self.house.commands, self.house.control, self.house.events_topic):
            lines += [f"{topic}[{raw['partition']}]@{raw['offset']} {raw['key']} {raw.get('ts')} {raw['payload']}"
                      for raw in pt.kcat_read(self.kafka, topic) if raw["key"] in named]
        lines += [f"{job_id}: {self.house.record(job_id)}" for job_id in sorted(named)[:100]]
        lines += [f"ingest: {pt.redis_hash(self.redis, self.house.prefix + 'ingest')}"]
        (place / "evidence.txt").write_text("\n".join(lines) + "\n", errors="replace")
        flow.say(f"evidence: {place}")

    def verdict(self):
        """Runs it all; returns what is wrong, as lines."""
        began = time.monotonic()
        self.start()
        self.go()
        sent = time.monotonic()
        wrong = self.end()
        rested = time.monotonic()
        verified = pt.run([self.judge, "verify", "-c", self.house.config_path, "--ended", "--json", "--wait", "1000"],
                          check=False, timeout=120)
        if verified.returncode != 0:
            wrong += ["verify: " + line for line in verified.stderr.splitlines()]
            found = json.loads(verified.stdout or "{}").get("checks", {})
            wrong += [f"verify: {check}: {count} in all" for check, count in found.items() if count]
        wrong += check.check(self.house, self.plan, faults=bool(self.profile.kill or self.profile.stop), lease_ms=LEASE_MS,
                             stood_still=self.stood_still)
        wrong += self.close()
        flow.say(f"seed {self.seed}: sent in {sent - began:.1f} s, at rest {rested - sent:.1f} s later, checked in "
                 f"{time.monotonic() - rested:.1f} s; {dict(self.faults)}; verify: {verified.stdout.strip()}")
        if wrong and self.keep:
            self.keep_evidence(wrong)
        return wrong


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kafka", help="host:port; without, one is started")
    parser.add_argument("--redis", type=int, help="port on 127.0.0.1; without, one is started")
    parser.add_argument("--name", default="fault", help="of topics, group and keys")
    parser.add_argument("--profile", default="all", choices=PROFILES)
    parser.add_argument("--jobs", type=int, help="other than the profile has")
    parser.add_argument("--seconds", type=int, help="of sending, with as many more jobs unless --jobs is given")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--judge", help="the binary that verifies, if not the one that is tried")
    parser.add_argument("--no-evidence", action="store_true", help="keep nothing of a run that went wrong")
    return parser.parse_args()


def main():
    args = parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(2))
    profile = PROFILES[args.profile]
    seconds = args.seconds or profile.seconds
    profile = profile._replace(seconds=seconds, jobs=args.jobs or profile.jobs * seconds // profile.seconds)
    try:
        kafka = types.SimpleNamespace(bootstrap=args.kafka) if args.kafka else pt.shared_kafka()
        redis = pt.Redis() if args.redis is None else types.SimpleNamespace(port=args.redis,
                                                                            url=f"redis://127.0.0.1:{args.redis}")
        wrong = Run(kafka, redis, args.name, profile, args.seed, args.judge, not args.no_evidence).verdict()
    except AssertionError as problem:
        flow.say(str(problem))
        sys.exit(2)
    print(json.dumps(wrong))
    sys.stdout.flush()
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
