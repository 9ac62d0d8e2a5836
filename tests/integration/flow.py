"""flow: a Penstock on real servers, and the questions that the integration tests ask about it.

    house = flow.House(pt.shared_kafka(), redis, "cancel", worker={"count": 2})
    serve = house.serve()
    house.produce([flow.create("j1", fake_latency_ms=200)])
    house.wait_state("j1", "completed")
    assert house.history("j1") == flow.LIFE
    house.stop()        # an orderly end, and no complaint of a sanitizer in any log

Houses with different names share Kafka and Redis and see nothing of each other: topics, group and key prefix are theirs.
"""
import json
import os
import re
import signal
import sys
import time

import penstock_test as pt

MODELS = pt.SOURCE_DIR / "tests/models"
LIFE = ["queued", "running", "completed"]
TERMINAL = ("completed", "failed", "cancelled")
SANITIZER = re.compile(r"ERROR: AddressSanitizer|ERROR: LeakSanitizer|WARNING: ThreadSanitizer|runtime error:|BUG at")


def create(job_id, model="echo", **members):
    """A create command. Members that begin with fake_ are parameters."""
    params = {name: members.pop(name) for name in list(members) if name.startswith("fake_")}
    return {"type": "create", "job_id": job_id, "model": model, **({"parameters": params} if params else {}), **members}


def cancel(job_id, reason="enough"):
    return {"type": "cancel", "job_id": job_id, "reason": reason}


def message(command):
    return {"key": command.get("job_id", ""), "value": json.dumps(command)}


def alive(pid):
    """Is there such a process, and is it more than a corpse that nobody has collected?"""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(pid):
    """The pids of all descendants of a process."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="ascii", errors="replace") as stat:
                    parents.setdefault(int(stat.read().rsplit(")", 1)[1].split()[1]), []).append(int(entry))
            except (FileNotFoundError, ProcessLookupError):
                pass
    found, todo = [], [pid]
    while todo:
        below = parents.get(todo.pop(), [])
        found += below
        todo += below
    return found


def sanitizer_reports(log):
    """The lines from the first complaint of a sanitizer on; empty if there is none."""
    match = SANITIZER.search(log)
    return log[match.start():match.start() + 6000] if match else ""


def validators():
    """{"job-event": validator, ...} of schemas/, or a skip."""
    try:
        import jsonschema
    except ImportError:
        raise pt.Missing("jsonschema is missing (Debian package python3-jsonschema)") from None
    schemas = {path.name.split(".")[0]: json.loads(path.read_text())
               for path in (pt.SOURCE_DIR / "schemas").glob("*.schema.json")}
    store = {schema["$id"]: schema for schema in schemas.values()}
    return {name: jsonschema.Draft202012Validator(
        schema, resolver=jsonschema.RefResolver(schema["$id"], schema, store=store)) for name, schema in schemas.items()}


class Event:
    """One message of the events topic."""

    def __init__(self, raw):
        self.raw = raw
        self.headers = dict(raw["headers"])
        self.value = json.loads(raw["payload"])
        self.to = self.value["to"]
        self.seq = self.value.get("seq")
        self.job_id = self.value.get("job_id")

    def __repr__(self):
        return f"<{self.job_id} {self.seq} {self.to} {self.value.get('reason')}>"


class House:
    """Settings of one installation, and its processes."""

    def __init__(self, kafka, redis, name=None, **sections):
        self.kafka, self.redis, self.serves, self.ended_logs = kafka, redis, [], []
        self.prefix = f"{name}:" if name else "penstock:"
        topic = f"{name}." if name else "penstock."
        self.commands, self.events_topic, self.dlq = topic + "commands", topic + "events", topic + "commands.dlq"
        self.control = topic + "control"
        self.settings = {
            "kafka": {"bootstrap.servers": kafka.bootstrap, "session.timeout.ms": 3000, "heartbeat.interval.ms": 500},
            "store": {"url": redis.url},
            "models": {"repository": MODELS},
            "relay": {"lease_ms": 1000},
            "worker": {"shutdown_ms": 5000},
            "http": {"listen": ""},  # test_http_*.py have a server, on a port of their own
        }
        if name:
            self.settings["store"]["prefix"] = self.prefix
            self.settings["bus"] = {"commands_topic": self.commands, "control_topic": self.control,
                                    "events_topic": self.events_topic, "dlq_topic": self.dlq, "group": name}
        for section, values in sections.items():
            self.settings.setdefault(section, {}).update(values)
        self.config_path = pt.temp_dir("house") / "penstock.ini"
        self.config_path.write_text("".join(
            f"[{section}]\n" + "".join(f"{name} = {value}\n" for name, value in values.items())
            for section, values in self.settings.items()))

    # --- processes ---

    def serve(self, *args, wait=True, env=None):
        """A control process; waits until the workers that it starts are there."""
        before = len(self.workers())
        serve = pt.Penstock("serve", self.settings, *args, env=env)
        self.serves.append(serve)
        if wait:
            workers = 0 if "--no-workers" in args else int(self.settings.get("worker", {}).get("count", 1))
            serve.wait_log(r"assigned \S+commands\[")
            pt.wait_for(lambda: len(self.workers()) >= before + workers, 120, "the workers are there")
        return serve

    def end(self, serve, timeout=30):
        """SIGTERM. It must end with 0, and so must its workers."""
        code = serve.terminate(timeout)
        self.serves.remove(serve)
        self.ended_logs.append(serve.log())
        assert code == 0, f"serve ended with {code}:\n{serve.log()[-3000:]}"
        stopping = serve.log().rsplit("stopping", 1)[-1]
        codes = re.findall(r"worker \S+ \(pid \d+\) (?:ended with exit code|was killed by signal) (\d+)", stopping)
        assert set(codes) <= {"0"}, f"workers ended with {codes}:\n{stopping}"

    def kill9(self, serve):
        serve.kill9()
        self.serves.remove(serve)
        self.ended_logs.append(serve.log())

    def stop(self):
        for serve in list(self.serves):
            self.end(serve)
        report = sanitizer_reports("\n".join(self.ended_logs))
        assert not report, report

    def workers(self):
        """{id: record} of the workers that have registered."""
        ids = pt.redis_cli(self.redis, "SMEMBERS", f"{self.prefix}workers").split()
        records = {worker: pt.redis_hash(self.redis, f"{self.prefix}worker:{worker}") for worker in ids}
        return {worker: record for worker, record in records.items() if record.get("pid")}

    def pid_of(self, worker):
        return int(self.workers()[worker]["pid"])

    # --- commands and answers ---

    def cli(self, *args, check=True, timeout=240, env=None, input=None):
        done = pt.penstock(args[0], "-c", self.config_path, *args[1:], check=check, timeout=timeout, env=env, input=input)
        report = sanitizer_reports(done.stderr)
        assert not report, report
        return done

    def produce(self, commands, topic=None):
        pt.kcat_produce(self.kafka, topic or self.commands, [message(command) for command in commands])

    def cancel(self, job_id, reason="enough"):
        self.produce([cancel(job_id, reason)], self.control)

    def record(self, job_id):
        return pt.redis_hash(self.redis, f"{self.prefix}job:{job_id}")

    def state(self, job_id):
        return pt.redis_cli(self.redis, "HGET", f"{self.prefix}job:{job_id}", "state")

    def count(self, state):
        return int(pt.redis_cli(self.redis, "ZCARD", f"{self.prefix}index:{state}"))

    def wait_state(self, job_id, state, deadline=20):
        """Waits for the state and returns the record. Another end than the one waited for fails at once."""
        def there():
            record = self.record(job_id)
            found = record.get("state")
            if found in TERMINAL and found != state:
                raise AssertionError(f"{job_id} ended as {found}, not {state}: {record}")
            return record if found == state else None
        return pt.wait_for(there, deadline, lambda: f"{job_id} is {state}: {self.record(job_id)}")

    def wait_count(self, state, count, deadline=60):
        pt.wait_for(lambda: self.count(state) >= count, deadline,
                    lambda: f"{count} jobs {state}: " + str({s: self.count(s) for s in ("queued", "running") + TERMINAL}))

    # --- events ---

    def events(self):
        return [Event(raw) for raw in pt.kcat_read(self.kafka, self.events_topic)]

    def job_events(self, job_id, deadline=10):
        """The job's events, once there are as many as its record says."""
        found = []

        def complete():
            found[:] = [event for event in self.events() if event.job_id == job_id and event.to != "rejected"]
            return found and found[-1].seq >= int(self.record(job_id)["seq"])
        pt.wait_for(complete, deadline, lambda: f"all events of {job_id}: {found}, {self.record(job_id)}")
        return found

    def history(self, job_id):
        events = self.job_events(job_id)
        assert [event.seq for event in events] == list(range(1, len(events) + 1)), events
        return [event.to for event in events]

    def rejected(self, count, deadline=20):
        """The rejected events, once there are so many."""
        found = []

        def enough():
            found[:] = [event for event in self.events() if event.to == "rejected"]
            return len(found) >= count
        pt.wait_for(enough, deadline, lambda: f"{count} rejected events: {found}")
        return found

    def verify(self, *args):
        """`penstock verify --json`, which must find nothing wrong; returns what it counted."""
        done = self.cli("verify", "--json", *args, check=False)
        assert done.returncode == 0, f"verify ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        outcome = json.loads(done.stdout)
        assert outcome["ok"] and outcome["violations"] == 0, outcome
        return outcome

    def check_each_once(self, count):
        """Every (job, seq) of the topic, repeats aside; returns the events by job. Repeats must be equal."""
        jobs = {}
        for event in self.events():
            if event.to == "rejected":
                continue
            known = jobs.setdefault(event.job_id, {}).setdefault(event.seq, event)
            assert known.value == event.value, f"one id, two events: {known.value} {event.value}"
        assert len(jobs) == count, f"events of {len(jobs)} jobs, not {count}"
        for job_id, events in jobs.items():
            assert sorted(events) == list(range(1, len(events) + 1)), f"{job_id}: {sorted(events)}"
        return {job_id: [events[seq] for seq in sorted(events)] for job_id, events in jobs.items()}


def signal_process(pid, number):
    os.kill(pid, number)


def stop_process(pid):
    """SIGSTOP, and waits until it stands still."""
    os.kill(pid, signal.SIGSTOP)

    def stands():
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] == "T"
    pt.wait_for(stands, 5, f"{pid} is stopped")


def say(text):
    """Into the test's output: a measurement, not a verdict."""
    print(text, file=sys.stderr, flush=True)


def now_ms():
    return int(time.time() * 1000)
