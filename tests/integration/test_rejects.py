"""Every command that must be refused, between good ones, on a real Kafka: nothing stops, nothing vanishes.

The messages are tests/vectors/command. Each vector gets a job_id of its own, of the same length, so that the accepted ones
are no repetitions of each other; the commands topic has one partition, so that a message's offset is its place.
"""
import base64
import datetime
import json
import unittest

import flow
import penstock_test as pt

VECTORS = pt.SOURCE_DIR / "tests/vectors/command"
SHARED_ID = "1J9ZK4T6W8Q2M5N7P0R3S1V4X"  # without its first character: one vector writes that as an escape
VALUE_MAX = 1024 * 1024


def value_of(vector):
    if "value_base64" in vector:
        return base64.b64decode(vector["value_base64"])
    if "value_parts" in vector:
        return "".join(part["text"] * part["times"] for part in vector["value_parts"]).encode()
    value = vector["value"]
    return (value if isinstance(value, str) else json.dumps(value)).encode()


class Vector:
    def __init__(self, path, number):
        vector = json.loads(path.read_text())
        own = f"{SHARED_ID[:-4]}{number:04d}"
        self.name, self.expect = vector["name"], vector["expect"]
        self.value = value_of(vector).replace(SHARED_ID.encode(), own.encode())
        self.key = vector["key"].replace(SHARED_ID, own) if "key" in vector else None
        self.headers = {name: text.replace(SHARED_ID, own) for name, text in vector.get("headers", {}).items()}
        self.offset = None

    def command(self):
        """Of an accepted one: its command, and the id wherever it stands."""
        value = json.loads(self.value)
        data = value.get("data", value)
        job_id = data.get("job_id") or value.get("subject") or self.headers.get("ce_subject")
        kind = data.get("type") or (value.get("type") or self.headers.get("ce_type")).removeprefix("penstock.job.")
        return job_id, kind, data

    def holds_others_up(self):
        """An accepted pause or drain would stop the good jobs around it."""
        return self.expect == "accept" and self.command()[1].removeprefix("penstock.") in ("pause", "resume", "drain")

    def wanted(self):
        """What becomes of it: "noted", "queued", "terminal", or the code that it is refused with."""
        if self.expect != "accept":
            return self.expect
        _, kind, data = self.command()
        if kind == "cancel":
            return "noted"  # before its create: remembered, no event
        if data.get("model_version", "1") != "1":
            return "unknown_model"
        at = data.get("not_before")
        if at and datetime.datetime.fromisoformat(at.replace(":60Z", ":59Z").replace("Z", "+00:00")) > datetime.datetime.now(
                datetime.timezone.utc):
            return "queued"
        return "terminal"


class Rejects(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = pt.Kafka("message.max.bytes=8388608")  # the default of its topics: oversized commands must arrive
        cls.redis = pt.Redis()
        repository = pt.temp_dir("models")
        (repository / "digits").symlink_to(pt.SOURCE_DIR / "models/digits")
        (repository / "echo").symlink_to(flow.MODELS / "echo")
        cls.house = flow.House(cls.kafka, cls.redis, bus={"partitions": 1}, models={"repository": repository})
        cls.house.serve()
        vectors = [Vector(path, number) for number, path in enumerate(sorted(VECTORS.glob("*.json")))]
        cls.vectors = [vector for vector in vectors if not vector.holds_others_up()]
        cls.good = []
        cls.produce_all()

    @classmethod
    def tearDownClass(cls):
        cls.house.stop()

    @classmethod
    def produce_all(cls):
        """Vector, good job, vector, good job ... Empty values, which kcat skips, go by the Java client."""
        offset, waiting = 0, []
        for number, vector in enumerate(cls.vectors):
            vector.offset = offset
            good = flow.create(f"good-{number}")
            if vector.value:
                waiting.append({"key": vector.key, "value": vector.value, "headers": vector.headers})
            else:
                pt.kcat_produce(cls.kafka, cls.house.commands, waiting)
                waiting = []
                pt.java_client(cls.kafka, "produce", cls.house.commands, vector.name, input="")
                vector.key = vector.name
            waiting.append(flow.message(good))
            cls.good.append(good["job_id"])
            offset += 2
        pt.kcat_produce(cls.kafka, cls.house.commands, waiting)
        cls.commands = pt.kcat_read(cls.kafka, cls.house.commands)
        refused = sum(vector.wanted() not in ("noted", "queued", "terminal") for vector in cls.vectors)
        cls.house.wait_count("completed", len(cls.good))
        cls.events = cls.house.rejected(refused)
        cls.by_offset = {}
        for event in cls.events:
            cls.by_offset.setdefault(event.value["source"]["offset"], []).append(event)
        cls.dead = {}
        for letter in pt.kcat_consume(cls.kafka, cls.house.dlq, refused):
            cls.dead.setdefault(int(dict(letter["headers"])["penstock_source_offset"]), []).append(letter)

    def refused(self):
        return [vector for vector in self.vectors if vector.wanted() not in ("noted", "queued", "terminal")]

    def test_commands_lie_in_the_topic_as_they_were_meant(self):
        self.assertEqual(len(self.commands), 2 * len(self.vectors))
        for vector in self.vectors:
            message = self.commands[vector.offset]
            self.assertEqual(message["offset"], vector.offset)
            self.assertEqual(pt.payload_bytes(message["payload"]), vector.value, vector.name)

    def test_each_refused_command_is_one_rejected_event_with_its_code_and_coordinates(self):
        schema = flow.validators()["job-event"]
        self.assertGreater(len(self.refused()), 100)
        for vector in self.refused():
            with self.subTest(vector.name):
                (event,) = self.by_offset.get(vector.offset, [])
                self.assertEqual(event.value["reason"], vector.wanted())
                self.assertEqual(event.value["error"]["code"], vector.wanted())
                self.assertTrue(event.value["error"]["message"])
                self.assertEqual(event.value["source"],
                                 {"topic": self.house.commands, "partition": 0, "offset": vector.offset})
                self.assertEqual(event.headers["ce_type"], "penstock.job.rejected")
                self.assertEqual([error.message for error in schema.iter_errors(event.value)], [])
        ids = [event.headers["ce_id"] for event in self.events]
        self.assertEqual(len(set(ids)), len(ids))

    def test_each_refused_command_is_one_dead_letter_with_its_own_bytes(self):
        for vector in self.refused():
            with self.subTest(vector.name):
                (letter,) = self.dead.get(vector.offset, [])
                headers = dict(letter["headers"])
                self.assertEqual(letter["key"], vector.key)
                self.assertEqual(pt.payload_bytes(letter["payload"]), vector.value[:VALUE_MAX])
                self.assertEqual(headers["penstock_error_code"], vector.wanted())
                self.assertTrue(headers["penstock_error_message"])
                self.assertEqual(headers["penstock_source_topic"], self.house.commands)
                self.assertEqual(headers["penstock_source_partition"], "0")
                self.assertEqual(headers.get("penstock_truncated"),
                                 str(len(vector.value)) if len(vector.value) > VALUE_MAX else None)

    def test_good_jobs_between_them_complete(self):
        for job_id in self.good:
            self.assertEqual(self.house.state(job_id), "completed", job_id)

    def test_accepted_vectors_become_jobs_that_end(self):
        for vector in self.vectors:
            wanted = vector.wanted()
            if wanted not in ("queued", "terminal"):
                continue
            with self.subTest(vector.name):
                job_id, _, _ = vector.command()
                states = flow.TERMINAL if wanted == "terminal" else ("queued",)
                pt.wait_for(lambda: self.house.state(job_id) in states, 20, lambda: f"{job_id}: {self.house.record(job_id)}")

    def test_cancels_that_come_first_are_remembered(self):
        noted = {vector.command()[0] for vector in self.vectors if vector.wanted() == "noted"}
        self.assertGreaterEqual(len(noted), 3)
        self.assertEqual(set(pt.redis_cli(self.redis, "ZRANGE", "penstock:tombstones", "0", "-1").split()), noted)

    def test_no_command_is_unaccounted_for(self):
        noted = sum(vector.wanted() == "noted" for vector in self.vectors)
        jobs = sum(self.house.count(state) for state in ("queued", "running") + flow.TERMINAL)
        self.assertEqual(len(self.commands), jobs + noted + len(self.events))
        self.assertEqual(sum(map(len, self.dead.values())), len(self.events))
        outcome = self.house.verify()
        self.assertEqual((outcome["jobs"], outcome["rejected"]), (jobs, len(self.events)))


class Repeats(unittest.TestCase):
    """The same id again."""

    @classmethod
    def setUpClass(cls):
        cls.kafka, cls.redis = pt.shared_kafka(), pt.Redis()
        cls.house = flow.House(cls.kafka, cls.redis, "repeats")
        cls.house.serve()

    @classmethod
    def tearDownClass(cls):
        cls.house.stop()

    def test_same_command_again_is_no_new_job_and_no_event(self):
        command = flow.create("twice", labels={"a": "b"})
        for _ in range(3):
            self.house.produce([command])
            self.house.wait_state("twice", "completed")
        self.house.produce([flow.create("after-twice")])
        self.house.wait_state("after-twice", "completed")
        self.assertEqual(self.house.history("twice"), flow.LIFE)

    def test_same_id_with_another_body_is_rejected_as_conflict(self):
        self.house.produce([flow.create("taken"), flow.create("taken", priority=9)])
        record = self.house.wait_state("taken", "completed")
        (rejected,) = [event for event in self.house.rejected(1) if event.job_id == "taken"]
        self.assertEqual(rejected.value["reason"], "job_conflict")
        self.assertEqual(record["priority"], "4")

    def test_message_without_a_value_is_rejected(self):
        before = len([event for event in self.house.events() if event.to == "rejected"])
        pt.run(["kcat", "-P", "-Z", "-K", ":", "-b", self.kafka.bootstrap, "-t", self.house.commands], input="gone:\n")
        rejected = self.house.rejected(before + 1)
        self.assertIn("malformed_json", [event.value["reason"] for event in rejected])
        letters = pt.kcat_consume(self.kafka, self.house.dlq, before + 1)
        self.assertIn(("gone", ""), [(letter["key"], letter["payload"]) for letter in letters])  # no compaction eats it


if __name__ == "__main__":
    pt.main()
