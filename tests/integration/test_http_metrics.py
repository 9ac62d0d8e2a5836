"""/metrics, with a real Kafka and Redis, read as Prometheus reads it."""
import re
import subprocess
import unittest

import flow
import http_client
import penstock_test as pt


def setUpModule():
    global house, api, redis
    kafka, redis = pt.shared_kafka(), pt.Redis()
    house = http_client.HttpHouse(kafka, redis, "metrics", worker={"count": 1})
    unittest.addModuleCleanup(house.stop)
    house.serve()
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
        api("POST", "/jobs", json=flow.create("waits"))
        pt.wait_for(lambda: scrape().get('penstock_queue_oldest_age_seconds{model="echo"}', 0) > 0, 20, "its age grows")
        self.assertEqual(scrape()['penstock_queue_depth{model="echo"}'], 1)
        house.cli("resume", "echo", "--wait")
        house.wait_state("waits", "completed")

    def test_prometheus_itself_finds_nothing_to_complain_about(self):
        found = subprocess.run([pt.SOURCE_DIR / "scripts/lib/promtool"], capture_output=True, text=True)
        if found.returncode == 77:
            self.skipTest(found.stderr.strip())
        self.assertEqual(found.returncode, 0, found.stderr)
        check = subprocess.run([found.stdout.strip(), "check", "metrics"], input=api("GET", "/metrics").body, capture_output=True, timeout=60)
        self.assertEqual((check.returncode, check.stderr), (0, b""))


if __name__ == "__main__":
    pt.main()
