"""/metrics, with a real Kafka and Redis, read as Prometheus reads it."""
import re
import subprocess
import unittest

import flow
import http_client
import penstock_test as pt


def setUpModule():
    global house, api, redis, serve
    kafka, redis = pt.shared_kafka(), pt.Redis()
    house = http_client.HttpHouse(kafka, redis, "metrics", worker={"count": 1})
    unittest.addModuleCleanup(house.stop)
    serve = house.serve()
    api = house.api()
    pt.wait_for(lambda: api("GET", "/v2/health/ready").status == 200, 60, "the house is ready")


def scrape():
    """Name with labels to number."""
    text = api("GET", "/metrics").body.decode()
    return {name: float(value) for name, value in re.findall(r"^([a-z_]+(?:\{.*\})?) (\S+)$", text, re.M)}


class Metrics(unittest.TestCase):
    def test_jobs_queues_workers_and_answers_are_told(self):
        for number in range(3):
            api("POST", "/jobs", json=flow.create(f"m{number}"), headers={"Prefer": "wait=20"})
        api("GET", "/jobs/nobody")
        told = scrape()
        self.assertEqual(told['penstock_jobs{state="completed"}'], 3)
        self.assertEqual((told["penstock_redis_up"], told["penstock_kafka_up"]), (1, 1))
        self.assertEqual(told['penstock_workers{state="idle"}'] + told['penstock_workers{state="busy"}'], 1)
        self.assertEqual(told['penstock_http_requests_total{route="/jobs/{job_id}",method="GET",status="404"}'], 1)
        self.assertEqual(told['penstock_http_requests_total{route="/jobs",method="POST",status="200"}'], 3)
        self.assertEqual(told['penstock_http_request_seconds_bucket{le="+Inf"}'], told["penstock_http_request_seconds_count"])

    def test_what_waits_is_told_with_its_age(self):
        house.cli("pause", "echo", "--wait")
        self.addCleanup(house.cli, "resume", "echo", "--wait")
        # The server's view of the queues may still be that of a drain just ended: then it says so, and to try again.
        pt.wait_for(lambda: api("POST", "/jobs", json=flow.create("waits")).status == 202, 20, "the job is taken")
        pt.wait_for(lambda: scrape().get('penstock_queue_oldest_age_seconds{model="echo"}', 0) > 0, 20, "its age grows")
        self.assertEqual(scrape()['penstock_queue_depth{model="echo"}'], 1)
        house.cli("resume", "echo", "--wait")
        house.wait_state("waits", "completed")

    def test_what_happened_is_counted(self):
        house.produce([flow.create(f"c{number}") for number in range(20)] + [
            flow.create("again", fake_fail="out_of_memory", fake_fail_attempts=1, backoff_ms=10), flow.create("wrong", fake_fail="invalid_input"),
            {"type": "create", "job_id": "typo", "modle": "echo"}])
        for job_id in [f"c{number}" for number in range(20)] + ["again", "wrong"]:
            house.wait_state(job_id, "failed" if job_id == "wrong" else "completed")
        of_echo = '{model="echo",version="latest"'
        pt.wait_for(lambda: scrape().get(f'penstock_jobs_finished_total{of_echo},state="failed"}}') == 1, 30, "the failure is counted")
        pt.wait_for(lambda: scrape().get('penstock_jobs_rejected_total{code="unknown_member"}') == 1, 30, "the refusal is counted")
        pt.wait_for(lambda: scrape().get(f'penstock_job_retries_total{of_echo}}}') == 1, 30, "the retry is counted")
        pt.wait_for(lambda: (lambda told: told[f'penstock_jobs_finished_total{of_echo},state="completed"}}'] == told['penstock_jobs{state="completed"}'])(scrape()),
                    30, "as many are counted as there are")
        told = scrape()
        runs = told[f"penstock_job_run_seconds_count{of_echo}}}"]
        self.assertEqual(runs, told[f"penstock_job_queue_seconds_count{of_echo}}}"])
        self.assertEqual(runs, told[f'penstock_job_run_seconds_bucket{of_echo},le="+Inf"}}'])
        self.assertGreaterEqual(runs, told[f"penstock_inference_exec_total{of_echo}}}"])
        self.assertGreaterEqual(told["penstock_relay_published_total"], 3 * 20)

    def test_what_waits_in_kafka_is_told_by_partition(self):
        lag = lambda: {name: value for name, value in scrape().items() if name.startswith("penstock_consumer_lag{")}
        self.assertEqual(len(lag()), 5)  # 4 partitions of commands, 1 of control
        house.cli("drain", "--wait")
        serve.wait_log("metrics.commands is paused: everything drains")  # from then on commands stay in Kafka
        self.addCleanup(house.cli, "resume", "--wait")
        house.produce([flow.create(f"lag{number}") for number in range(3)])
        pt.wait_for(lambda: sum(lag().values()) == 3, 30, lambda: f"three wait: {lag()}")
        house.cli("resume", "--wait")
        pt.wait_for(lambda: sum(lag().values()) == 0, 60, lambda: f"none waits: {lag()}")
        self.assertLess(scrape()["penstock_outbox_oldest_age_seconds"], 60)

    def test_prometheus_itself_finds_nothing_to_complain_about(self):
        found = subprocess.run([pt.SOURCE_DIR / "scripts/lib/promtool"], capture_output=True, text=True)
        if found.returncode == 77:
            self.skipTest(found.stderr.strip())
        self.assertEqual(found.returncode, 0, found.stderr)
        check = subprocess.run([found.stdout.strip(), "check", "metrics"], input=api("GET", "/metrics").body, capture_output=True, timeout=60)
        self.assertEqual((check.returncode, check.stderr), (0, b""))

    def test_workers_that_died_are_counted_once_each(self):
        house.produce([flow.create("dies", fake_crash_attempts=9)])
        crashes = int(house.wait_state("dies", "failed", 60)["crashes"])  # until the job itself is found to be at fault
        pt.wait_for(lambda: scrape()["penstock_worker_crashes_total"] == crashes, 30, "each crash is counted")
        self.assertEqual(scrape()["penstock_lease_losses_total"], crashes)


if __name__ == "__main__":
    pt.main()
