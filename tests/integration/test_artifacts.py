"""Large outputs become files, inputs come from files, and both only where they may; progress tells what a run is at."""
import hashlib
import json
import struct
import unittest
from pathlib import Path
from urllib.parse import unquote

import flow
import penstock_test as pt

LARGE = 100_000


def npy(descr, shape, data):
    head = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape!r}, }}".encode()
    head += b" " * (63 - (10 + len(head)) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data


class Artifacts(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        kafka, redis = pt.shared_kafka(), pt.Redis()
        cls.root, cls.inputs, repository = pt.temp_dir("artifacts"), pt.temp_dir("inputs"), pt.temp_dir("models")
        for name, model in {"digits": pt.SOURCE_DIR / "models/digits", "echo": flow.MODELS / "echo"}.items():
            (repository / name).symlink_to(model)
        cls.house = flow.House(kafka, redis, "artifacts", models={"repository": repository}, store={"retention_failed_ms": 500},
                               artifacts={"root": cls.root, "input_root": cls.inputs, "collect_after_ms": 100,
                                          "max_bytes": 10 * LARGE})
        cls.house.serve()
        cls.addClassCleanup(cls.house.stop)

    def result(self, job_id):
        self.house.wait_state(job_id, "completed")
        return json.loads(self.house.cli("get", job_id, "--result").stdout)

    def test_large_output_is_a_file_with_its_size_and_sum_and_a_small_one_is_not(self):
        self.house.produce([flow.create("large", fake_output_bytes=LARGE), flow.create("small", fake_output_bytes=100)])
        output = {output["name"]: output for output in self.result("large")["outputs"]}["bytes"]
        path = Path(unquote(output["uri"].removeprefix("file://")))
        content = path.read_bytes()
        self.assertEqual(content, bytes(i % 251 for i in range(LARGE)))
        self.assertEqual((output["bytes"], output["sha256"]), (LARGE, hashlib.sha256(content).hexdigest()))
        self.assertNotIn("data", output)
        self.assertEqual(path, self.root / "large" / self.house.record("large")["token"] / "bytes")
        self.assertEqual(path.stat().st_mode & 0o777, 0o640)
        self.assertIn("data", {output["name"]: output for output in self.result("small")["outputs"]}["bytes"])
        self.assertFalse((self.root / "small").exists())
        flow.validators()["job-event"].validate(self.house.job_events("large")[-1].value)

    def test_outputs_over_the_limit_fail_the_job_and_leave_no_file(self):
        self.house.produce([flow.create("huge", fake_output_bytes=11 * LARGE)])
        self.assertEqual(self.house.wait_state("huge", "failed")["error_code"], "result_too_large")
        self.assertFalse((self.root / "huge").exists())

    def test_sample_image_by_uri_gives_what_it_gives_inline(self):
        sample = json.loads((pt.SOURCE_DIR / "models/digits/samples/01.json").read_text())
        tensor = sample["inputs"][0]
        raw = struct.pack(f"<{len(tensor['data'])}f", *tensor["data"])
        (self.inputs / "deep").mkdir()
        (self.inputs / "image.raw").write_bytes(raw)
        (self.inputs / "deep/im age.npy").write_bytes(npy("<f4", tuple(tensor["shape"]), raw))
        head = {name: tensor[name] for name in ("name", "shape", "datatype")}
        inputs = {"inline": tensor, "raw": {**head, "uri": f"file://{self.inputs}/image.raw"},
                  "npy": {**head, "uri": f"file://{self.inputs}/deep/im%20age.npy"}}
        self.house.produce([flow.create(job_id, "digits", inputs=[tensor]) for job_id, tensor in inputs.items()])
        results = {job_id: self.result(job_id) for job_id in inputs}
        scores = {job_id: result["outputs"][0].pop("data") for job_id, result in results.items()}
        for job_id in ("raw", "npy"):
            self.assertEqual(results[job_id], results["inline"])
            for ours, theirs in zip(scores[job_id], scores["inline"], strict=True):
                # Which kernels run depends on how many jobs a batch has, and so does the order of additions.
                self.assertAlmostEqual(ours, theirs, delta=1e-5)

    def test_input_that_may_not_be_read_fails_its_job_with_the_reason(self):
        (self.inputs / "link").symlink_to("/etc/hostname")
        uris = {"outside": "file:///etc/hostname", "dots": f"file://{self.inputs}/../../etc/hostname",
                "link": f"file://{self.inputs}/link", "absent": f"file://{self.inputs}/absent"}
        reasons = {"outside": "within the input root", "dots": "leads out", "link": "symbolic link", "absent": "No such file"}
        self.house.produce([flow.create(f"bad-{name}", max_attempts=1, inputs=[
            {"name": "x", "shape": [1], "datatype": "UINT8", "uri": uri}]) for name, uri in uris.items()])
        for name in uris:
            end = pt.wait_for(lambda: [event for event in self.house.events() if event.job_id == f"bad-{name}"
                                       and event.to == "failed"], 20, f"bad-{name} has failed")[0]
            self.assertEqual(end.value["error"]["code"], "invalid_input")
            self.assertIn(reasons[name], end.value["error"]["message"])

    def test_files_go_when_the_record_has_gone_and_those_of_others_stay(self):
        stale = self.root / "forgotten/1-1"
        stale.mkdir(parents=True)
        (stale / "x").write_bytes(b"x")
        self.house.produce([flow.create("stays", fake_output_bytes=LARGE)])
        token = self.house.wait_state("stays", "completed")["token"]
        other = self.root / "stays/1-0"
        other.mkdir()
        (other / "bytes").write_bytes(b"late")
        pt.wait_for(lambda: not (self.root / "forgotten").exists() and not other.exists(), 30, "what nobody owns is deleted")
        self.assertTrue((self.root / "stays" / token / "bytes").exists())

    def test_progress_tells_how_far_a_run_is_and_at_what(self):
        self.house.produce([flow.create("walks", fake_latency_ms=4000, fake_steps=4)])
        record = pt.wait_for(lambda: (record := self.house.record("walks")).get("progress_message") and record, 10, "a message")
        self.assertRegex(record["progress_message"], r"^step [1-4] of 4$")
        self.assertGreaterEqual(float(record["progress"]), 0.25)
        self.house.cancel("walks")
        self.house.wait_state("walks", "cancelled")


if __name__ == "__main__":
    pt.main()
