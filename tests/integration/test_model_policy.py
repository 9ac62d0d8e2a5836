"""What a model's config.json says about its jobs, and what a command says over it, with real processes."""
import json
import unittest

import flow
import penstock_test as pt

MODELS = {
    "strict": {"max_attempts": 2, "timeout_ms": 1500, "timeout_max_ms": 2000, "queue_timeout_ms": 50000,
               "queue_timeout_max_ms": 60000},
    "one": {"max_running": 1},
    "narrow": {"max_queued": 3},
    "patient": {"max_attempts": 2, "backoff_ms": 86400000, "backoff_max_ms": 86400000},
    "plain": {},
}


def setUpModule():
    global kafka, redis, repository
    kafka, redis = pt.shared_kafka(), pt.Redis()
    repository = pt.temp_dir("policies")
    for name, policy in MODELS.items():
        (repository / name).mkdir()
        config = {"backend": "fake", "max_batch_size": 1, **({"penstock": policy} if policy else {})}
        (repository / name / "config.json").write_text(json.dumps(config))


class ModelPolicy(unittest.TestCase):
    def house(self, name, *args, **sections):
        house = flow.House(kafka, redis, name, models={"repository": repository}, **sections)
        self.addCleanup(house.stop)
        self.serve = house.serve(*args)
        return house

    def test_command_goes_before_model_and_model_before_configuration_within_the_caps(self):
        house = self.house("said", "--no-workers", jobs={"max_attempts": 4, "timeout_ms": 7000, "queue_timeout_ms": 70000,
                                                         "timeout_max_ms": 100000, "queue_timeout_max_ms": 300000})
        everything = {"max_attempts": 5, "timeout_ms": 1000, "queue_timeout_ms": 2000}
        greedy = {"timeout_ms": 3600000, "queue_timeout_ms": 3600000}
        cases = {  # of the command, and what the record says: max_attempts, timeout_ms, queue_timeout_ms
            "strict": [({}, (2, 1500, 50000)), (everything, (5, 1000, 2000)), (greedy, (2, 2000, 60000))],
            "plain": [({}, (4, 7000, 70000)), (everything, (5, 1000, 2000)), (greedy, (4, 100000, 300000))],
        }
        for model, rows in cases.items():
            house.produce([flow.create(f"{model}-{n}", model, **members) for n, (members, _) in enumerate(rows)])
        house.wait_count("queued", 6)
        for model, rows in cases.items():
            for n, (_, wanted) in enumerate(rows):
                record = house.record(f"{model}-{n}")
                self.assertEqual(tuple(int(record[name]) for name in ("max_attempts", "timeout_ms", "queue_timeout_ms")),
                                 wanted, f"{model}-{n}")

    def test_attempts_and_time_of_a_run_end_as_the_model_says(self):
        house = self.house("ended", jobs={"retry_backoff_ms": 1, "max_attempts": 9}, worker={"count": 2})
        house.produce([flow.create("failing", "strict", fake_fail="execution_failed"),
                       flow.create("slow", "strict", fake_latency_ms=60000)])
        self.assertEqual(house.wait_state("failing", "failed")["attempt"], "2")
        record = house.wait_state("slow", "failed")
        self.assertEqual(record["error_code"], "timeout")
        self.assertLess(int(record["duration_ms"]), 20000)
        house.verify("--ended")

    def test_jobs_of_a_model_run_one_at_a_time_over_all_workers_and_others_beside_them(self):
        house = self.house("one", worker={"count": 2})
        pt.wait_for(lambda: pt.redis_cli(redis, "HGET", "one:policy", "model:one") == "1", 10, "the limit is there")
        jobs = [f"one-{n}" for n in range(5)]
        house.produce([flow.create(job_id, "one", fake_latency_ms=400) for job_id in jobs])
        house.wait_state("one-0", "running")
        house.produce([flow.create(f"plain-{n}", "plain") for n in range(3)])
        house.wait_count("completed", 8)
        runs = sorted((int(record["started_at"]), int(record["finished_at"])) for record in map(house.record, jobs))
        for (_, ended), (started, _) in zip(runs, runs[1:]):
            self.assertLessEqual(ended, started, runs)
        last = max(int(house.record(f"plain-{n}")["finished_at"]) for n in range(3))
        self.assertLess(last, runs[-1][1], "others waited for all of them")
        self.assertEqual(pt.redis_hash(redis, "one:counts"), {})

    def test_full_queue_of_one_model_leaves_commands_in_kafka(self):
        house = self.house("narrow", "--no-workers", ingest={"batch": 1}, bus={"partitions": 1})
        house.produce([flow.create(f"plain-{n}", "plain") for n in range(10)])  # nobody limits these
        house.wait_count("queued", 10)
        house.produce([flow.create(f"narrow-{n}", "narrow") for n in range(200)])
        self.serve.wait_log(r"narrow\.commands is paused: \d+ jobs of narrow are queued, the limit is 3")
        self.assertLess(house.count("queued"), 210, "all of them were taken")

    def test_retry_waits_as_long_as_job_model_or_configuration_say(self):
        house = self.house("backoff", jobs={"retry_backoff_ms": 1, "retry_backoff_max_ms": 1})
        house.produce([flow.create("by-model", "patient", fake_fail="execution_failed"),
                       flow.create("by-job", "patient", fake_fail="execution_failed", backoff_ms=1),
                       flow.create("by-cap", "patient", fake_fail="execution_failed", backoff_max_ms=1),
                       flow.create("by-configuration", "plain", fake_fail="execution_failed")])
        for job_id in ("by-job", "by-cap", "by-configuration"):
            house.wait_state(job_id, "failed")
        waiting = pt.wait_for(lambda: (record := house.record("by-model")).get("attempt") == "2" and record, 20, "one attempt")
        self.assertEqual(waiting["state"], "queued")
        self.assertGreater(int(waiting["not_before"]) - int(waiting["queued_at"]), 1000)  # drawn below a day


if __name__ == "__main__":
    pt.main()
