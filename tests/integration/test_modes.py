"""Pause, resume and drain by the command line, with a real Kafka and Redis and real processes."""
import json
import unittest

import flow
import penstock_test as pt


def setUpModule():
    global kafka, redis
    kafka, redis = pt.shared_kafka(), pt.Redis()


class Modes(unittest.TestCase):
    def setUp(self):
        name = self._testMethodName.removeprefix("test_").replace("_", "-")[:40]
        self.house = flow.House(kafka, redis, name)
        self.addCleanup(self.house.stop)
        self.serve = self.house.serve()

    def call(self, *args, code=0):
        done = self.house.cli(*args, check=False)
        self.assertEqual(done.returncode, code, f"{args}: {done.stdout}{done.stderr}")
        return done

    def policy(self):
        policy = pt.redis_hash(redis, f"{self.house.prefix}policy")
        return {field: value for field, value in policy.items() if field.startswith(("mode:", "reason:"))}

    def run_one(self, job_id, model="echo"):
        """A job that runs to its end: whatever could run before it has had its chance."""
        self.house.produce([flow.create(job_id, model)])
        self.house.wait_state(job_id, "completed")

    def assert_never_ran(self, job_ids):
        for job_id in job_ids:
            self.assertEqual((self.house.state(job_id), self.house.record(job_id)["seq"]), ("queued", "1"), job_id)

    def test_paused_model_keeps_its_jobs_while_others_run_and_what_runs_ends(self):
        held = ["held-1", "held-2", "held-3"]
        self.house.produce([flow.create("long", "solo", fake_latency_ms=1500)])
        self.house.wait_state("long", "running")
        done = self.call("pause", "solo", "--reason", "new weights", "--wait", "--json")
        self.assertEqual(json.loads(done.stdout), {"model": "solo", "mode": "paused", "reason": "new weights", "queued": 0,
                                                   "running": 1})
        self.assertEqual(self.policy(), {"mode:solo": "paused", "reason:solo": "new weights"})
        self.house.produce([flow.create(job_id, "solo") for job_id in held])
        self.run_one("other")
        self.house.wait_state("long", "completed")
        self.run_one("another")
        self.assert_never_ran(held)

        self.house.cancel("held-3")  # a pause keeps nobody from leaving
        self.house.wait_state("held-3", "cancelled")
        self.call("resume", "solo", "--wait")
        self.assertEqual(self.policy(), {})
        for job_id in held[:2]:
            self.house.wait_state(job_id, "completed")
        self.house.verify("--ended")

    def test_everything_paused_outlives_the_control_process_and_is_apart_from_models(self):
        self.call("pause", "--wait", "--reason", "night")
        self.call("pause", "solo", "--wait", "--reason", "weights")
        self.house.produce([flow.create("e"), flow.create("s", "solo")])
        self.house.wait_count("queued", 2)
        self.house.end(self.serve)
        self.house.serve()
        self.assertEqual(self.policy(), {"mode:*": "paused", "reason:*": "night", "mode:solo": "paused",
                                         "reason:solo": "weights"})
        self.assert_never_ran(["e", "s"])
        self.call("resume", "--wait")
        self.house.wait_state("e", "completed")
        self.run_one("e2")
        self.assert_never_ran(["s"])
        self.call("resume", "solo", "--wait")
        self.house.wait_state("s", "completed")

    def test_draining_model_refuses_new_jobs_and_ends_what_it_has(self):
        old = [f"old-{n}" for n in range(4)]
        self.house.produce([flow.create(job_id, "solo", fake_latency_ms=300) for job_id in old])
        pt.wait_for(lambda: sum(map(self.house.count, ("queued", "running", "completed"))) == 4, 20, "all are taken")
        self.call("drain", "solo", "--reason", "retired")
        pt.wait_for(lambda: self.policy().get("mode:solo") == "draining", 20, "it drains")
        self.house.produce([flow.create("new", "solo"), flow.create("old-3", "solo", fake_latency_ms=300)])
        (rejected,) = self.house.rejected(1)
        self.assertEqual((rejected.job_id, rejected.value["reason"]), ("new", "draining"))
        self.assertEqual(rejected.value["error"]["retryable"], True)
        (letter,) = pt.kcat_consume(kafka, self.house.dlq, 1)
        self.assertEqual(dict(letter["headers"])["penstock_error_code"], "draining")
        self.run_one("other")

        self.call("drain", "solo", "--wait")  # again: nothing changes but that it waits
        for job_id in old:
            self.assertEqual(self.house.state(job_id), "completed")
        self.assertEqual(self.house.record("new"), {})
        self.call("resume", "solo", "--wait")
        self.run_one("new", "solo")
        self.house.verify("--ended")

    def test_everything_drains_to_nothing_and_new_commands_wait(self):
        self.house.produce([flow.create(f"old-{n}", "solo", fake_latency_ms=500) for n in range(4)])
        pt.wait_for(lambda: sum(map(self.house.count, ("queued", "running", "completed"))) == 4, 20, "all are taken")
        done = self.call("drain", "--wait", "--reason", "upgrade")
        self.assertEqual(done.stdout, "everything is draining: 0 queued, 0 running\n")
        self.assertEqual((self.house.count("queued"), self.house.count("running"), self.house.count("completed")), (0, 0, 4))
        self.serve.wait_log(r"commands is paused: everything drains")
        self.house.produce([flow.create("new")])
        self.call("resume", "--wait")
        self.house.wait_state("new", "completed")
        self.assertEqual([event.to for event in self.house.events() if event.to == "rejected"], [])

    def test_unknown_model_is_rejected_and_waiting_for_it_ends_with_5(self):
        done = self.call("pause", "nobody", "--wait", "--timeout", "1000", "--json", code=5)
        error = json.loads(done.stderr.splitlines()[-1])
        self.assertEqual(error["code"], "wait_timeout")
        self.assertIn("nobody is not paused", error["message"])
        (rejected,) = self.house.rejected(1)
        self.assertEqual((rejected.job_id, rejected.value["reason"]), (None, "unknown_model"))
        self.assertEqual(rejected.value["source"]["topic"], self.house.control)
        self.assertEqual(self.policy(), {})
        self.house.verify()

    def test_drain_that_does_not_end_in_time_says_what_is_left(self):
        self.house.produce([flow.create("later", not_before="2999-01-01T00:00:00Z")])
        self.house.wait_count("queued", 1)
        done = self.call("drain", "echo", "--wait", "--timeout", "500", code=5)
        self.assertIn("echo: 1 queued and 0 running", done.stderr)

    def test_wrong_use_is_refused_before_anything_is_sent(self):
        for args in (("pause", "echo", "solo"), ("pause", "../echo"), ("resume", "--wait=yes"), ("drain", "--timeout", "soon"),
                     ("drain", "--timeout", "0"), ("pause", "--model", "echo")):
            with self.subTest(args=args):
                self.call(*args, code=2)
        self.assertIn("reason", self.call("pause", "echo", "--reason", "x" * 257, code=1).stderr)
        self.assertEqual(pt.kcat_read(kafka, self.house.control), [])
        for name in ("pause", "resume", "drain"):
            self.assertIn("Examples:", self.call(name, "--help").stdout)

    def test_commands_of_other_producers_do_the_same(self):
        """A structured CloudEvent, and the key left out."""
        event = {"specversion": "1.0", "id": "1", "source": "/test", "type": "penstock.pause", "subject": "solo",
                 "data": {"model": "solo", "reason": "by event"}}
        pt.kcat_produce(kafka, self.house.control, [{"key": None, "value": json.dumps(event), "headers": {
            "content-type": "application/cloudevents+json"}}])
        pt.wait_for(lambda: self.policy() == {"mode:solo": "paused", "reason:solo": "by event"}, 20, "solo is paused")
        self.house.produce([{"type": "drain", "model": "solo"}], self.house.commands)  # on the other topic, too
        pt.wait_for(lambda: self.policy().get("mode:solo") == "draining", 20, "solo drains")


if __name__ == "__main__":
    pt.main()
