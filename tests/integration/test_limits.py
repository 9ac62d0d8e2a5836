"""Who may run how much, in what order, for how long, and how long it is remembered: the settings of limits and jobs."""
import json
import unittest

import flow
import penstock_test as pt


def setUpModule():
    global kafka, redis
    kafka, redis = pt.shared_kafka(), pt.Redis()


def most_at_once(runs):
    """How many of the intervals (from, to) overlap at most."""
    edges = sorted([(start, 1) for start, _ in runs] + [(end, -1) for _, end in runs])
    running = most = 0
    for _, step in edges:
        running += step
        most = max(most, running)
    return most


class Limits(unittest.TestCase):
    def house(self, name, **sections):
        house = flow.House(kafka, redis, name, **sections)
        self.addCleanup(house.stop)
        house.serve()
        return house

    def runs(self, house, jobs):
        """{job: (started, finished)} of completed jobs."""
        house.wait_count("completed", len(jobs))
        records = {job_id: house.record(job_id) for job_id in jobs}
        return {job_id: (int(record["started_at"]), int(record["finished_at"])) for job_id, record in records.items()}

    def test_tenant_at_its_limit_waits_and_others_go_ahead(self):
        house = self.house("tenants", limits={"running_per_tenant": 2, "running_by_tenant": "small=1"}, worker={"count": 2})
        tenants = {"big": 10, "small": 4, "other": 4}
        house.produce([flow.create(f"{tenant}-{n}", fake_latency_ms=100, labels={"tenant": tenant})
                       for tenant, count in tenants.items() for n in range(count)])
        jobs = [f"{tenant}-{n}" for tenant, count in tenants.items() for n in range(count)]
        runs = self.runs(house, jobs)
        for tenant, limit in {"big": 2, "small": 1, "other": 2}.items():
            mine = [run for job_id, run in runs.items() if job_id.startswith(tenant)]
            self.assertLessEqual(most_at_once(mine), limit, f"{tenant}: {sorted(mine)}")
        last = {tenant: max(run[1] for job_id, run in runs.items() if job_id.startswith(tenant)) for tenant in tenants}
        self.assertLess(last["other"], last["big"], "who came later had to wait for all of another tenant's jobs")
        self.assertEqual(pt.redis_hash(redis, "tenants:counts"), {}, "counts are left over")
        house.verify("--ended")

    def test_strict_priority_lets_the_urgent_ones_by(self):
        self.assertEqual(self.place_of_the_humble("strict", {}), 10)

    def test_ageing_lets_a_job_that_waited_go_before_newer_urgent_ones(self):
        self.assertEqual(self.place_of_the_humble("ageing", {"ageing_ms": 50}), 0)

    def place_of_the_humble(self, name, limits):
        """How many of ten urgent jobs run before one of priority 0 that has waited for a second when they come."""
        house = self.house(name, limits=limits, worker={"prefetch_below_ms": 0})
        house.produce([flow.create("first", model="solo", fake_latency_ms=600000)])
        house.wait_state("first", "running")
        house.produce([flow.create("humble", model="solo", priority=0)])
        queued_at = int(house.wait_state("humble", "queued")["queued_at"])
        urgent = [f"urgent-{n}" for n in range(10)]
        pt.wait_for(lambda: self.redis_ms() >= queued_at + 1000, 20, "a second has passed")
        house.produce([flow.create(job_id, model="solo", priority=9) for job_id in urgent])
        house.wait_count("queued", 11)
        house.cancel("first")
        house.wait_state("first", "cancelled")
        self.runs(house, ["humble", *urgent])
        tokens = {job_id: int(house.record(job_id)["token"].split("-")[1]) for job_id in ["humble", *urgent]}  # in their order
        return sum(tokens[job_id] < tokens["humble"] for job_id in urgent)

    def redis_ms(self):
        seconds, micros = pt.redis_cli(redis, "TIME").split()
        return int(seconds) * 1000 + int(micros) // 1000

    def test_command_gets_no_more_time_than_the_cap(self):
        house = self.house("caps", jobs={"timeout_max_ms": 300, "queue_timeout_max_ms": 60000})
        house.produce([flow.create("greedy", fake_latency_ms=60000, timeout_ms=3600000, queue_timeout_ms=3600000)])
        record = house.wait_state("greedy", "failed")
        self.assertEqual((record["error_code"], record["timeout_ms"], record["queue_timeout_ms"]), ("timeout", "300", "60000"))

    def test_records_are_kept_as_long_as_their_state_is_to_be(self):
        house = self.house("kept", store={"retention_failed_ms": 500, "retention_cancelled_ms": 1000})
        house.produce([flow.create("good"), flow.create("bad", fake_fail="invalid_input"),
                       flow.create("late", not_before="2099-01-01T00:00:00Z")])
        house.wait_state("good", "completed")
        house.wait_state("late", "queued")
        house.cancel("late")
        pt.wait_for(lambda: house.events() and {"failed", "cancelled"} <= {event.to for event in house.events()}, 20, "both ended")
        pt.wait_for(lambda: not house.record("bad") and not house.record("late"), 20, "both are forgotten")
        self.assertEqual(house.state("good"), "completed")
        keys = pt.redis_cli(redis, "--scan", "--pattern", "kept:*").split()
        self.assertEqual([key for key in keys if "bad" in key or "late" in key], [], "something of them is left")
        house.verify()

    def test_incomplete_batch_waits_for_more_and_a_full_one_does_not(self):
        repository = pt.temp_dir("models")
        (repository / "lazy").mkdir()
        (repository / "lazy/config.json").write_text(json.dumps(
            {"name": "lazy", "backend": "fake", "max_batch_size": 4,
             "dynamic_batching": {"max_queue_delay_microseconds": 2000000}}))
        house = self.house("lazy", models={"repository": repository})
        house.produce([flow.create("first", model="lazy")])
        house.wait_state("first", "queued")
        house.produce([flow.create("second", model="lazy")])
        runs = self.runs(house, ["first", "second"])
        waited = runs["first"][0] - int(house.record("first")["queued_at"])
        self.assertEqual(runs["first"][0], runs["second"][0], "not one batch")
        self.assertGreaterEqual(waited, 1999)
        house.produce([flow.create(f"full{n}", model="lazy") for n in range(4)])
        house.wait_count("completed", 6)
        records = [house.record(f"full{n}") for n in range(4)]
        self.assertLess(max(int(record["started_at"]) - int(record["queued_at"]) for record in records), 1999)

    def test_redis_that_lost_everything_gets_the_limits_again(self):
        house = self.house("lost", limits={"running_per_tenant": 3})
        pt.wait_for(lambda: pt.redis_hash(redis, "lost:policy").get("tenant_default") == "3", 10, "the limits are there")
        pt.redis_cli(redis, "DEL", "lost:policy")
        pt.wait_for(lambda: pt.redis_hash(redis, "lost:policy").get("tenant_default") == "3", 20, "they are there again")


if __name__ == "__main__":
    pt.main()
