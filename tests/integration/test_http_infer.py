"""The Open Inference Protocol over HTTP as Triton's clients speak it, binary tensors included; real Kafka, Redis, digits."""
import json
import shutil
import struct
import unittest

import flow
import http_client
import penstock_test as pt

LENGTH = "Inference-Header-Content-Length"


def setUpModule():
    global house, api, image
    kafka, redis = pt.shared_kafka(), pt.Redis()
    repository, files = pt.temp_dir("models"), pt.temp_dir("files")
    shutil.copytree(pt.SOURCE_DIR / "models/digits", repository / "digits", ignore=shutil.ignore_patterns("samples", "*.py", "*.md"))
    shutil.copytree(pt.SOURCE_DIR / "tests/models/echo", repository / "echo")
    for folder in ("in", "out"):
        (files / folder).mkdir()
    house = http_client.HttpHouse(kafka, redis, "infer", models={"repository": repository},
                                  artifacts={"root": files / "out", "input_root": files / "in", "inline_bytes": 1024})
    unittest.addModuleCleanup(house.stop)
    house.serve()
    api = house.api()
    pt.wait_for(lambda: api("GET", "/v2/models/digits/ready").status == 200, 60, "digits is ready")
    image = json.loads((pt.SOURCE_DIR / "models/digits/samples/07.json").read_text())["inputs"][0]


def binary(head, *tensors):
    """A request as Triton's clients send it."""
    text = json.dumps(head).encode()
    return {"body": text + b"".join(tensors),
            "headers": {"Content-Type": "application/octet-stream", LENGTH: str(len(text))}}


def flat(values):
    return [number for value in values for number in flat(value)] if isinstance(values[0], list) else values


class Metadata(unittest.TestCase):
    def test_a_model_says_what_it_takes_and_gives(self):
        digits = api("GET", "/v2/models/digits").json
        self.assertEqual((digits["name"], digits["versions"]), ("digits", ["1"]))
        self.assertEqual(digits["inputs"], [{"name": "image", "datatype": "FP32", "shape": [-1, 1, 8, 8]}])
        self.assertEqual(api("GET", "/v2/models/digits/versions/1").json, digits)
        self.assertEqual([model["name"] for model in api("GET", "/v2/models").json["models"]], ["digits", "echo"])
        self.assertIn({"name": "digits", "version": "1", "state": "READY"}, api("POST", "/v2/repository/index").json)
        self.assertIn("binary_tensor_data", api("GET", "/v2").json["extensions"])

    def test_what_no_worker_has_ready_is_not_there(self):
        for path in ("/v2/models/nobody", "/v2/models/digits/versions/2", "/v2/models/nobody/ready"):
            answer = api("GET", path)
            self.assertEqual((answer.status, answer.json["code"]), (404, "unknown_model"))
            self.assertEqual(answer.json["error"], answer.json["message"])  # where Triton's clients look


class Infer(unittest.TestCase):
    def infer(self, path="/v2/models/digits/infer", **request):
        answer = api("POST", path, **request)
        self.assertEqual(answer.status, 200, answer)
        return answer

    def outputs(self, answer):
        """Of an answer with binary data: name to numbers."""
        head = json.loads(answer.body[:int(answer.headers[LENGTH.lower()])])
        at, outputs = int(answer.headers[LENGTH.lower()]), {}
        for output in head["outputs"]:
            size = output["parameters"]["binary_data_size"]
            outputs[output["name"]] = answer.body[at:at + size]
            at += size
        self.assertEqual(at, len(answer.body))
        return head, outputs

    def test_json_in_and_out(self):
        answer = self.infer(json={"id": "7", "inputs": [image]})
        self.assertEqual((answer.json["id"], answer.json["model_name"], answer.json["model_version"]), ("7", "digits", "1"))
        scores = answer.json["outputs"][0]["data"]
        self.assertEqual((len(scores), scores.index(max(scores))), (10, 3))  # what the picture shows
        self.assertEqual(house.history(answer.headers["x-job-id"]), flow.LIFE)

    def test_binary_in_and_out_gives_the_numbers_of_json(self):
        plain = self.infer(json={"inputs": [image]}).json["outputs"][0]
        numbers = flat(image["data"])
        head = {"inputs": [{"name": "image", "shape": image["shape"], "datatype": "FP32", "parameters": {"binary_data_size": 4 * len(numbers)}}],
                "parameters": {"binary_data_output": True}}
        head, outputs = self.outputs(self.infer(path="/v2/models/digits/versions/1/infer", **binary(head, struct.pack(f"<{len(numbers)}f", *numbers))))
        self.assertEqual(head["outputs"][0]["shape"], plain["shape"])
        for ours, theirs in zip(struct.unpack(f"<{len(plain['data'])}f", outputs[plain["name"]]), plain["data"], strict=True):
            self.assertAlmostEqual(ours, theirs, places=5)
        self.assertNotIn("id", head)

    def test_large_tensors_go_through_files_both_ways(self):
        size = 3 << 19  # as a command, far over 1 MiB
        head = {"inputs": [{"name": "x", "shape": [size], "datatype": "UINT8", "parameters": {"binary_data_size": size}}],
                "parameters": {"fake_output_bytes": 100000, "timeout": 30000000, "priority": 1},
                "outputs": [{"name": "bytes", "parameters": {"binary_data": True}}]}
        head, outputs = self.outputs(self.infer(path="/v2/models/echo/infer", **binary(head, bytes(size))))
        self.assertEqual(outputs["bytes"], bytes(i % 251 for i in range(100000)))

    def test_an_idempotency_key_makes_it_repeatable(self):
        first = self.infer(json={"inputs": [image]}, headers={"Idempotency-Key": "again"})
        second = self.infer(json={"inputs": [image]}, headers={"Idempotency-Key": "again"})
        self.assertEqual((first.headers["x-job-id"], first.json), ("again", second.json))
        self.assertEqual(house.record("again")["attempt"], "1")

    def test_what_fails_says_how(self):
        wrong = {**image, "shape": [1, 1, 4, 16]}
        cases = [({"inputs": [wrong]}, 400, "invalid_input"), ({"inputs": [{**image, "shape": [1, 1, 8, 9]}]}, 400, "invalid_tensor"),
                 ({}, 400, "missing_member"), ({"inputs": [image], "outputs": [{"name": "nothing"}]}, 400, "invalid_member"),
                 ({"inputs": [image], "outputs": [{"name": "scores", "parameters": {"classification": 3}}]}, 400, "unknown_member"),
                 ({"inputs": [image], "extra": 1}, 400, "unknown_member"), ({"inputs": 7}, 400, "invalid_member")]
        for body, status, code in cases:
            answer = api("POST", "/v2/models/digits/infer", json=body)
            self.assertEqual((answer.status, answer.json["code"]), (status, code), body)
        self.assertEqual(api("POST", "/v2/models/nobody/infer", json={"inputs": [image]}).status, 404)
        failed = api("POST", "/v2/models/echo/infer", json={"inputs": [], "parameters": {"fake_fail": "out_of_memory"}}, headers={"Prefer": "wait=1"})
        self.assertIn(failed.status, (503, 504))  # it is retried for longer than a second

    def test_bytes_that_do_not_fit_are_refused(self):
        def head(size, shape=(4,), datatype="FP32"):
            return {"inputs": [{"name": "x", "shape": list(shape), "datatype": datatype, "parameters": {"binary_data_size": size}}]}
        cases = [(head(16), bytes(12)), (head(16), bytes(20)), (head(12), bytes(12)), (head(-1), b""), (head(8, (2,), "BYTES"), struct.pack("<II", 9, 0))]
        for body, tail in cases:
            answer = api("POST", "/v2/models/echo/infer", **binary(body, tail))
            self.assertEqual((answer.status, answer.json["code"]), (400, "invalid_tensor"), body)
        for length in ("-1", "x", "9999999"):
            answer = api("POST", "/v2/models/echo/infer", body=b'{"inputs":[]}', headers={"Content-Type": "application/octet-stream", LENGTH: length})
            self.assertEqual((answer.status, answer.json["code"]), (400, "invalid_member"), length)

    def test_a_wait_that_is_too_short_names_the_job(self):
        answer = api("POST", "/v2/models/echo/infer", json={"inputs": [], "parameters": {"fake_latency_ms": 4000}}, headers={"Prefer": "wait=1"})
        self.assertEqual((answer.status, answer.json["code"]), (504, "wait_timeout"))
        house.wait_state(answer.headers["x-job-id"], "completed")


if __name__ == "__main__":
    pt.main()
