"""Events over HTTP as they come, with a real Kafka and Redis: all of them, one job's, going on behind the last one seen."""
import json
import socket
import unittest

import flow
import http_client
import penstock_test as pt

LIFE = ["queued", "running", "completed"]


def setUpModule():
    global house, api
    kafka, redis = pt.shared_kafka(), pt.Redis()
    house = http_client.HttpHouse(kafka, redis, "http-events", worker={"count": 1, "prefetch_below_ms": 0})
    unittest.addModuleCleanup(house.stop)
    start()
    api = house.api()


def start():
    serve = house.serve()
    pt.wait_for(lambda: house.api()("GET", "/v2/health/ready").status == 200, 30, "the house is ready")

    def follows():
        try:
            Stream("/events").close()
            return True
        except AssertionError:
            return False
    pt.wait_for(follows, 30, "events can be followed")
    return serve


class Stream:
    """Server-sent events, one dict each: id, event, data. What has no data only moves `last_id`."""

    def __init__(self, path, last_id=None):
        self.connection = house.api().connect(30)
        self.connection.request("GET", path, headers={"Last-Event-ID": last_id} if last_id else {})
        response = self.connection.getresponse()
        body = b"" if response.status == 200 else response.read()
        answer = http_client.Answer(response.status, response.getheaders(), body)
        house.api()._description.check("GET", path.split("?")[0], answer)
        assert answer.status == 200, answer
        assert answer.headers["content-type"] == "text/event-stream"
        self.response, self.last_id = response, None

    def __iter__(self):
        fields = {}
        for line in self.response:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name and not name.startswith(":"):
                fields[name] = value
            if name:
                continue
            self.last_id = fields.get("id", self.last_id)
            if "data" in fields:
                yield {"id": fields.get("id"), "event": fields["event"], "data": json.loads(fields["data"])}
            fields = {}

    def until(self, job_id, state="completed"):
        """The events up to that one."""
        seen = []
        for event in self:
            seen.append(event)
            if event["data"].get("job_id") == job_id and event["data"]["to"] == state:
                return seen
        raise AssertionError(f"the stream ended before {job_id} was {state}, after {[event['id'] for event in seen]}")

    def close(self):
        self.response.close()
        self.connection.close()


def run(job_id, **members):
    answer = api("POST", "/jobs", json=flow.create(job_id, **members), headers={"Prefer": "wait=20"}, timeout=60)
    assert answer.status == 200, answer


def steps(events, job_id):
    return [event["data"]["to"] for event in events if event["data"].get("job_id") == job_id]


class All(unittest.TestCase):
    def test_every_event_comes_as_it_is_in_the_topic(self):
        stream = Stream("/events")
        self.addCleanup(stream.close)
        run("all")
        seen = [event for event in stream.until("all") if event["data"]["job_id"] == "all"]
        self.assertEqual([event["data"] for event in seen], [event.value for event in house.job_events("all")])
        self.assertEqual([event["event"] for event in seen], [f"penstock.job.{to}" for to in LIFE])
        for event in seen:
            self.assertRegex(event["id"], r"^\d+(\.\d+)*$")

    def test_a_model_filters(self):
        stream = Stream("/events?model=solo")
        self.addCleanup(stream.close)
        run("filtered-out")
        run("filtered-in", model="solo")
        self.assertEqual([(e["data"]["job_id"], e["data"]["to"]) for e in stream.until("filtered-in")], [("filtered-in", to) for to in LIFE])

    def test_the_last_id_goes_on_without_gap_or_repeat(self):
        stream = Stream("/events")
        run("before")
        first = stream.until("before", "running")
        stream.close()
        run("between")
        stream = Stream("/events", first[-1]["id"])
        run("after")
        second = stream.until("after")
        stream.close()
        self.assertNotIn("penstock.gap", [event["event"] for event in second])
        for job_id in ("before", "between", "after"):
            self.assertEqual(steps(first + second, job_id), LIFE, job_id)

    def test_who_leaves_before_the_first_event_knows_where_it_stood(self):
        quiet = Stream("/events?model=nobody")
        line = quiet.response.readline().decode()
        quiet.close()
        self.assertRegex(line, r"^id: \d")
        run("meanwhile")
        stream = Stream("/events", line[4:].strip())
        self.addCleanup(stream.close)
        self.assertEqual(steps(stream.until("meanwhile"), "meanwhile"), LIFE)

    def test_a_position_of_another_topic_is_a_gap(self):
        stream = Stream("/events", "0." * 300 + "0")
        self.addCleanup(stream.close)
        self.assertEqual(next(iter(stream))["event"], "penstock.gap")

    def test_an_id_that_is_none_is_refused(self):
        for path in ("/events", "/jobs/all/events"):
            answer = api("GET", path, headers={"Last-Event-ID": "x"})
            self.assertEqual((answer.status, answer.json["code"]), (400, "invalid_member"))
        self.assertEqual(api("GET", "/events?model=a/b").status, 400)


class OneJob(unittest.TestCase):
    def test_a_running_job_is_followed_until_it_ends(self):
        api("POST", "/jobs", json=flow.create("one", fake_latency_ms=1500))
        house.wait_state("one", "running")
        run("other", model="solo")
        seen = list(Stream("/jobs/one/events"))  # it ends by itself
        self.assertEqual([(event["id"], event["data"]["to"]) for event in seen], [("1", "queued"), ("2", "running"), ("3", "completed")])
        self.assertEqual([event["data"] for event in seen], [event.value for event in house.job_events("one")])

    def test_the_last_id_goes_on_behind_that_seq(self):
        run("behind")
        for last, rest in (("1", ["2", "3"]), ("2", ["3"]), ("3", [])):
            self.assertEqual([event["id"] for event in Stream("/jobs/behind/events", last)], rest)

    def test_a_job_that_is_not_there_is_404(self):
        answer = api("GET", "/jobs/nobody/events")
        self.assertEqual((answer.status, answer.json["code"]), (404, "not_found"))


class Many(unittest.TestCase):
    def test_fifty_readers_at_once_get_the_same(self):
        streams = [Stream("/events") for _ in range(50)]
        for n in range(10):
            run(f"many{n}")
        trails = [stream.until("many9") for stream in streams]
        for stream in streams:
            stream.close()
        for n in range(10):
            self.assertEqual(steps(trails[0], f"many{n}"), LIFE)
        for trail in trails:
            self.assertEqual(trail, trails[0])

    def test_one_that_does_not_read_is_cut_off_and_the_others_go_on(self):
        slow = socket.create_connection(("127.0.0.1", house.port))
        self.addCleanup(slow.close)
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        slow.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        other, stream, seen = Stream("/events?model=solo"), Stream("/events"), []
        self.addCleanup(other.close)
        inputs = [{"name": "x", "shape": [50000], "datatype": "FP32", "data": [0.123456] * 50000}]
        fat = [flow.create(f"fat{n}", inputs=inputs) for n in range(16)]
        house.produce(fat)
        for n in range(16):
            house.wait_state(f"fat{n}", "completed", 60)
        run("end", model="solo")
        self.assertEqual(steps(other.until("end"), "end"), LIFE)
        while steps(seen, "end") != LIFE:  # this one may be cut off, too, and comes again
            for event in stream:
                seen.append(event)
                if steps([event], "end") == ["completed"]:
                    break
            stream.close()
            stream = Stream("/events", stream.last_id)
        stream.close()
        self.assertNotIn("penstock.gap", [event["event"] for event in seen])
        for n in range(16):
            self.assertEqual(steps(seen, f"fat{n}"), LIFE)
        whole = sum(len(json.dumps(event["data"])) for event in seen)
        self.assertLess(read_to_end(slow, whole), whole, "the slow one was cut off")


def read_to_end(connection, limit):
    """How much came until the server closed, or until it is that much."""
    connection.settimeout(30)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    total = 0
    try:
        while total < limit and (chunk := connection.recv(65536)):
            total += len(chunk)
    except ConnectionResetError:
        pass  # libmicrohttpd's limit of silence came first
    return total


class Restart(unittest.TestCase):
    def test_streams_end_with_the_server_and_the_next_one_has_a_jobs_whole_past(self):
        run("past")
        stream = Stream("/events")
        run("seen")
        stream.until("seen")
        position = stream.last_id
        house.end(house.serves[0], timeout=9)  # http_stop would wait 10 s for a stream that does not end
        self.assertEqual(list(stream), [])
        start()
        self.assertEqual([event["id"] for event in Stream("/jobs/past/events")], ["1", "2", "3"])
        self.assertEqual([event["id"] for event in Stream("/jobs/past/events", "2")], ["3"])
        with_past = [Stream("/jobs/past/events") for _ in range(10)]
        self.assertEqual([[event["id"] for event in stream] for stream in with_past], [["1", "2", "3"]] * 10)
        run("next")
        stream = Stream("/events", position)
        self.addCleanup(stream.close)
        self.assertEqual(steps(stream.until("next"), "next"), LIFE)


if __name__ == "__main__":
    pt.main()
