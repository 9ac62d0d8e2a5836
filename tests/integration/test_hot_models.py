"""The model repository changes while everything runs: new versions are served, broken ones harm nobody."""
import json
import re
import shutil
import unittest

import flow
import penstock_test as pt

DIGITS = pt.SOURCE_DIR / "models/digits"
SAMPLE = json.loads((DIGITS / "samples/01.json").read_text())


def setUpModule():
    global kafka, redis
    kafka, redis = pt.shared_kafka(), pt.Redis()


class HotModels(unittest.TestCase):
    def setUp(self):
        self.repository = pt.temp_dir("models")
        self.jobs = 0
        (self.repository / "digits").mkdir()
        shutil.copy(DIGITS / "config.json", self.repository / "digits/config.json")
        self.install("digits/1")
        self.install_fake("echo")

    def start(self, name, **settings):
        self.house = flow.House(kafka, redis, name, models={"repository": self.repository, "poll_ms": 100}, worker={"count": 1},
                                **settings)
        self.addCleanup(self.house.stop)
        self.serve = self.house.serve()
        self.wait_versions({"digits": ["1"], "echo": ["1"]})

    def install(self, path, content=None):
        """A version as it should be installed: complete elsewhere, then renamed into place."""
        made = pt.temp_dir("version")
        (made / "model.onnx").write_bytes(content or (DIGITS / "1/model.onnx").read_bytes())
        into = self.repository / path
        if into.exists():
            into.rename(pt.temp_dir("old") / "version")
        shutil.move(made, into)

    def install_fake(self, name, **config):
        (self.repository / name).mkdir(exist_ok=True)
        made = self.repository / name / "config.new"
        made.write_text(json.dumps({"name": name, "backend": "fake", **config}))
        made.rename(self.repository / name / "config.json")

    def served(self):
        """Model -> versions that the worker says it has, the latest last."""
        found = {}
        for worker in self.house.workers():
            for model in json.loads(pt.redis_cli(redis, "HGET", f"{self.house.prefix}worker:{worker}", "models")):
                found.setdefault(model["name"], []).append(model["version"])
        return found

    def wait_versions(self, versions):
        pt.wait_for(lambda: self.served() == versions, 20, lambda: f"served are {versions}: {self.served()}\n{self.serve.log()}")

    def run_digit(self, **members):
        """The version that a job ran on."""
        self.jobs += 1
        job_id = f"digit-{self.jobs}"
        self.house.produce([{"type": "create", "job_id": job_id, **SAMPLE, **members}])
        self.house.wait_state(job_id, "completed")
        return json.loads(self.house.cli("get", "--result", job_id).stdout)["model_version"]

    def test_new_version_is_served_without_restart_and_the_old_one_stays_for_who_names_it(self):
        self.start("version")
        self.assertEqual(self.run_digit(), "1")
        (worker,) = self.house.workers()
        self.install("digits/2")
        self.wait_versions({"digits": ["1", "2"], "echo": ["1"]})
        self.assertEqual((self.run_digit(), self.run_digit(model_version="1")), ("2", "1"))
        self.assertEqual(list(self.house.workers()), [worker])
        shutil.rmtree(self.repository / "digits/2")
        self.wait_versions({"digits": ["1"], "echo": ["1"]})
        self.assertEqual(self.run_digit(), "1")
        self.house.verify("--ended")

    def test_version_that_cannot_be_loaded_leaves_the_one_before_and_is_served_when_it_is_mended(self):
        self.start("broken")
        self.install("digits/2", b"no model at all")
        self.serve.wait_log(r"model digits version 2: .*not a valid ONNX file")
        self.assertEqual(self.run_digit(), "1")
        self.install("digits/1", b"nor this")
        self.serve.wait_log("model digits version 1: what was there goes on")
        self.assertEqual(self.run_digit(), "1")
        self.install("digits/2")
        self.wait_versions({"digits": ["1", "2"], "echo": ["1"]})
        self.assertEqual(self.run_digit(), "2")
        self.assertEqual(len(re.findall("model digits version 2: ", self.serve.log())), 1, "tried again although nothing changed")

    def test_unfinished_upload_is_left_alone(self):
        self.start("unfinished")
        (self.repository / "digits/2").mkdir()
        self.serve.wait_log(r"worker .*digits/2/model.onnx: No such file")
        self.serve.wait_log(r"control .*digits/2/model.onnx: No such file")
        self.assertEqual(self.run_digit(), "1")
        shutil.copy(DIGITS / "1/model.onnx", self.repository / "digits/2/model.onnx")
        self.wait_versions({"digits": ["1", "2"], "echo": ["1"]})

    def test_new_model_is_taken_and_a_removed_one_refused_while_its_job_ends(self):
        self.start("names")
        self.install_fake("more")
        self.wait_versions({"digits": ["1"], "echo": ["1"], "more": ["1"]})
        self.serve.wait_log("control .*the model repository has changed: 3 versions")
        self.house.produce([flow.create("first", "more", fake_latency_ms=1500)])
        self.house.wait_state("first", "running")
        shutil.rmtree(self.repository / "more")
        self.wait_versions({"digits": ["1"], "echo": ["1"]})
        self.serve.wait_log("control .*the model repository has changed: 2 versions")
        self.house.produce([flow.create("late", "more")])
        (rejected,) = self.house.rejected(1)
        self.assertEqual((rejected.job_id, rejected.value["reason"]), ("late", "unknown_model"))
        self.house.wait_state("first", "completed")
        self.serve.wait_log("model more version 1 is unloaded")

    def test_what_a_model_says_about_its_jobs_follows_its_file(self):
        self.start("policy")
        self.install_fake("echo", penstock={"max_running": 3, "max_attempts": 7})
        pt.wait_for(lambda: pt.redis_cli(redis, "HGET", "policy:policy", "model:echo") == "3", 20, "the limit is in the store")
        self.house.produce([flow.create("job")])
        self.assertEqual(self.house.wait_state("job", "completed")["max_attempts"], "7")


if __name__ == "__main__":
    pt.main()
