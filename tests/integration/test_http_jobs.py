"""Jobs over HTTP, with a real Kafka and Redis; every answer is checked against schemas/openapi.yaml."""
import concurrent.futures
import json
import unittest

import flow
import http_client
import penstock_test as pt


def setUpModule():
    global house, api
    kafka, redis = pt.shared_kafka(), pt.Redis()
    house = http_client.HttpHouse(kafka, redis, "http", ingest={"max_queued": 20}, worker={"count": 1, "prefetch_below_ms": 0})
    unittest.addModuleCleanup(house.stop)
    house.serve()
    api = house.api()
    pt.wait_for(lambda: api("GET", "/v2/health/ready").status == 200, 30, "the house is ready")


class Create(unittest.TestCase):
    def test_a_job_is_accepted_with_a_location_and_completes(self):
        answer = api("POST", "/jobs", json=flow.create("c1", labels={"tenant": "acme"}))
        self.assertEqual((answer.status, answer.headers["location"], answer.json), (202, "/jobs/c1", {"job_id": "c1"}))
        house.wait_state("c1", "completed")
        record = api("GET", "/jobs/c1").json
        self.assertEqual((record["state"], record["labels"]), ("completed", {"tenant": "acme"}))
        self.assertEqual(record["result"], api("GET", "/jobs/c1/result").json)
        self.assertEqual(api("GET", "/jobs/c1/spec").json["model"], "echo")
        self.assertEqual(house.history("c1"), flow.LIFE)

    def test_a_job_without_an_id_gets_a_uuid_and_prefer_waits_for_its_end(self):
        answer = api("POST", "/jobs", json={"model": "echo"}, headers={"Prefer": "respond-async, wait=10"})
        self.assertEqual((answer.status, answer.json["state"]), (200, "completed"))
        self.assertRegex(answer.json["job_id"], r"^[0-9a-f]{8}-[0-9a-f]{4}-7")
        self.assertEqual(answer.headers["preference-applied"], "wait=10")

    def test_a_wait_that_is_too_short_is_answered_with_the_state(self):
        answer = api("POST", "/jobs", json=flow.create("slow", fake_latency_ms=3000), headers={"Prefer": "wait=1"})
        self.assertEqual((answer.status, answer.json), (202, {"job_id": "slow", "state": "running"}))
        self.assertEqual(api("GET", "/jobs/slow", headers={"Prefer": "wait=20"}).json["state"], "completed")

    def test_the_same_request_again_is_the_same_job_and_another_is_a_conflict(self):
        for _ in range(3):
            answer = api("POST", "/jobs", json={"model": "echo", "priority": 3}, headers={"Idempotency-Key": '"key-1"', "Prefer": "wait=10"})
            self.assertEqual((answer.status, answer.json["job_id"], answer.json["seq"]), (200, "key-1", 3))
        answer = api("POST", "/jobs", json={"model": "echo", "priority": 4}, headers={"Idempotency-Key": "key-1"})
        self.assertEqual((answer.status, answer.json["code"]), (409, "job_conflict"))
        self.assertEqual(house.history("key-1"), flow.LIFE)

    def test_what_is_wrong_is_refused_with_its_code_and_reaches_nobody(self):
        before = len(house.events())
        cases = [({"model": "nobody"}, 404, "unknown_model"), ({"model": "echo", "modle": 1}, 400, "unknown_member"),
                 ({}, 400, "missing_member"), ({"model": "echo", "job_id": "a b"}, 400, "invalid_job_id"),
                 ({"type": "cancel", "job_id": "x"}, 400, "unknown_type"), ({"model": "echo", "priority": 10}, 400, "invalid_member")]
        for body, status, code in cases:
            answer = api("POST", "/jobs", json=body)
            self.assertEqual((answer.status, answer.json["code"]), (status, code), body)
        for body in (b"", b"{", b"[]", b'{"model":"echo","model":"echo"}', b"\xff"):
            self.assertEqual(api("POST", "/jobs", body=body, headers={"Content-Type": "application/json"}).json["code"], "malformed_json")
        self.assertEqual(api("POST", "/jobs", body=b"x", headers={"Content-Type": "text/plain"}).status, 415)
        self.assertEqual(api("POST", "/jobs", json={"model": "echo"}, headers={"Idempotency-Key": "no good"}).json["code"], "invalid_job_id")
        self.assertEqual(len(house.events()), before)

    def test_a_cloudevent_is_taken_as_it_is_with_its_trace(self):
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        event = {"specversion": "1.0", "type": "penstock.job.create", "source": "/test", "id": "1", "subject": "ce-1",
                 "datacontenttype": "application/json", "data": {"model": "echo"}}
        answer = api("POST", "/jobs", body=json.dumps(event).encode(),
                     headers={"Content-Type": "application/cloudevents+json; charset=utf-8", "Prefer": "wait=10", "traceparent": trace})
        self.assertEqual((answer.status, answer.json["job_id"], answer.json["traceparent"]), (200, "ce-1", trace))

    def test_a_full_queue_is_429_until_it_is_emptied(self):
        house.cli("pause", "solo", "--wait")
        house.produce([flow.create(f"full{n}", model="solo") for n in range(20)])
        answer = pt.wait_for(lambda: next((a for a in [api("POST", "/jobs", json={"model": "solo", "job_id": "one-more"})] if a.status == 429), None),
                             20, "the queue is full")
        self.assertEqual((answer.json["code"], answer.json["retryable"]), ("queue_full", True))
        self.assertIn("retry-after", answer.headers)
        house.cli("resume", "solo", "--wait")
        for n in range(20):
            house.wait_state(f"full{n}", "completed")
        pt.wait_for(lambda: api("POST", "/jobs", json={"model": "solo", "job_id": "one-more"}).status == 202, 20, "there is room again")

    def test_a_draining_model_is_503(self):
        self.assertEqual(api("POST", "/v1/mode", json={"type": "drain", "model": "solo", "reason": "retired"}).status, 202)
        answer = pt.wait_for(lambda: next((a for a in [api("POST", "/jobs", json={"model": "solo"})] if a.status == 503), None), 20, "it drains")
        self.assertEqual(answer.json["code"], "draining")
        queues = {queue["model"]: queue for queue in api("GET", "/v1/queues").json["queues"]}
        self.assertEqual((queues["solo"]["mode"], queues["solo"]["reason"]), ("draining", "retired"))
        self.assertEqual(api("POST", "/v1/mode", json={"type": "resume", "model": "solo"}).status, 202)
        pt.wait_for(lambda: api("POST", "/jobs", json={"model": "solo"}).status == 202, 20, "it is resumed")

    def test_many_at_once_wait_without_a_thread_each(self):
        def one(n):
            return api("POST", "/jobs", json=flow.create(f"many{n}", fake_latency_ms=20), headers={"Prefer": "wait=30"}, timeout=60)
        with concurrent.futures.ThreadPoolExecutor(64) as pool:
            answers = list(pool.map(one, range(64)))
        self.assertEqual({(a.status, a.json["state"]) for a in answers}, {(200, "completed")})


class Read(unittest.TestCase):
    def test_a_failed_job_says_why(self):
        answer = api("POST", "/jobs", json=flow.create("bad", fake_fail="invalid_input", max_attempts=1), headers={"Prefer": "wait=10"})
        self.assertEqual((answer.json["state"], answer.json["error"]["code"]), ("failed", "invalid_input"))
        self.assertEqual(api("GET", "/jobs/bad/error").json, answer.json["error"])
        self.assertEqual(api("GET", "/jobs/bad/result").status, 404)

    def test_what_is_not_there_is_404_with_a_hint(self):
        for path in ("/jobs/nobody", "/jobs/nobody/result", "/nowhere", "/jobs/a/b/c/d/e/f/g/h/i"):
            answer = api("GET", path)
            self.assertEqual((answer.status, answer.json["code"]), (404, "not_found"), path)
            self.assertTrue(answer.json["hint"])

    def test_problem_json_is_given_to_whom_it_is_asked_by(self):
        answer = api("GET", "/jobs/nobody", headers={"Accept": "application/problem+json"})
        self.assertEqual((answer.status, answer.headers["content-type"]), (404, "application/problem+json"))
        self.assertEqual((answer.json["title"], answer.json["status"], answer.json["code"]), ("Not Found", 404, "not_found"))

    def test_methods_are_what_the_description_says(self):
        self.assertEqual(api("HEAD", "/v1/overview").status, 200)
        answer = api("OPTIONS", "/jobs/x")
        self.assertEqual((answer.status, answer.headers["allow"]), (204, "GET, HEAD, DELETE, OPTIONS"))
        answer = api("PUT", "/jobs/x")
        self.assertEqual((answer.status, answer.headers["allow"]), (405, "GET, HEAD, DELETE, OPTIONS"))

    def test_lists_filter_and_go_on_at_the_cursor(self):
        for n in range(7):
            self.assertEqual(api("POST", "/jobs", json=flow.create(f"l{n}", labels={"run": "list"}), headers={"Prefer": "wait=10"}).status, 200)
        path, seen, pages = "/jobs?label=run%3Dlist&state=completed&limit=3&since=10m", [], 0
        while path:
            answer = api("GET", path)
            seen += [job["job_id"] for job in answer.json["jobs"]]
            link = answer.headers.get("link", "")
            self.assertEqual(bool(link), "next_cursor" in answer.json)
            path, pages = link[1:link.index(">")] if link else None, pages + 1
            self.assertLess(pages, 50)
        self.assertEqual(sorted(seen), [f"l{n}" for n in range(7)])
        for query in ("state=gone", "limit=0", "limit=x", "since=yesterday", "label=x", "nothing=1", "cursor=1", "model=a/b"):
            answer = api("GET", f"/jobs?{query}")
            self.assertEqual((answer.status, answer.json["code"]), (400, "invalid_member"), query)

    def test_workers_and_overview_show_the_house(self):
        (worker,) = api("GET", "/v1/workers").json["workers"]
        self.assertIn("echo", [model["name"] for model in worker["models"]])
        overview = api("GET", "/v1/overview").json
        self.assertEqual((overview["workers"], overview["kafka"], overview["mode"]), (1, True, "open"))


class Cancel(unittest.TestCase):
    def test_a_running_job_is_cancelled_with_its_reason_and_again_is_200(self):
        api("POST", "/jobs", json=flow.create("stop", fake_latency_ms=60000))
        house.wait_state("stop", "running")
        answer = api("DELETE", "/jobs/stop?reason=wrong+image")
        self.assertEqual((answer.status, answer.json), (202, {"job_id": "stop", "state": "running"}))
        record = api("GET", "/jobs/stop", headers={"Prefer": "wait=20"}).json
        self.assertEqual((record["state"], record["cancel_reason"]), ("cancelled", "wrong image"))
        self.assertEqual(api("DELETE", "/jobs/stop").status, 200)

    def test_a_job_that_has_ended_is_409_and_a_reason_that_is_too_long_400(self):
        api("POST", "/jobs", json=flow.create("over"), headers={"Prefer": "wait=10"})
        answer = api("DELETE", "/jobs/over")
        self.assertEqual((answer.status, answer.json["code"]), (409, "too_late"))
        self.assertEqual(api("DELETE", f"/jobs/other?reason={'x' * 257}").json["code"], "invalid_member")

    def test_a_cancel_before_its_create_is_remembered(self):
        self.assertEqual(api("DELETE", "/jobs/early").status, 202)
        pt.wait_for(lambda: pt.redis_cli(house.redis, "ZSCORE", f"{house.prefix}tombstones", "early"), 20, "the cancel is there")
        self.assertEqual(api("POST", "/jobs", json=flow.create("early"), headers={"Prefer": "wait=10"}).json["state"], "cancelled")


if __name__ == "__main__":
    pt.main()
