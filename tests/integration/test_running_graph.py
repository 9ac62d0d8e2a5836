"""A graph that runs is seen to run, and can be stopped: between two of its nodes, without ending the process."""
import json
import unittest

import flow
import onnx_writer as onnx
import penstock_test as pt

NODES = 4000
SIZE = 384


def setUpModule():
    global kafka, redis
    kafka, redis = pt.shared_kafka(), pt.Redis()


def deep_model():
    """y: the mean of x after NODES multiplications of a [SIZE, SIZE] matrix by one that averages: ten seconds of work and more, of which little is done."""
    nodes = [onnx.node("Expand", ["x", "shape"], ["m0"])]
    nodes += [onnx.node("MatMul", [f"m{n}", "w"], [f"m{n + 1}"], f"layer{n}") for n in range(NODES)]
    nodes += [onnx.node("ReduceMean", [f"m{NODES}"], ["y"], keepdims=1)]
    weights = [onnx.tensor("w", [SIZE, SIZE], [1 / SIZE] * SIZE * SIZE),
               onnx.tensor("shape", [2], [SIZE, SIZE], onnx.INT64)]
    return onnx.model(nodes, [onnx.value("x", [1, 1])], [onnx.value("y", [1, 1])], weights)


class RunningGraph(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        repository = pt.temp_dir("models")
        (repository / "deep/1").mkdir(parents=True)
        (repository / "deep/1/model.onnx").write_bytes(deep_model())
        (repository / "echo").mkdir()
        (repository / "echo/config.json").write_text(json.dumps({"name": "echo", "backend": "fake"}))
        cls.house = flow.House(kafka, redis, "graph", models={"repository": repository},
                               worker={"count": 1, "grace_ms": 3600000, "prefetch_below_ms": 0})
        cls.addClassCleanup(cls.house.stop)
        cls.house.serve()

    @staticmethod
    def create(job_id, **members):
        return {"type": "create", "job_id": job_id, "model": "deep", **members,
                "inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [0.5]}]}

    def setUp(self):
        self.workers = list(self.house.workers())

    def tearDown(self):
        """The process that ran it was not ended, and runs the next."""
        job_id = f"after-{self.id().rsplit('.')[-1]}"[:64]
        self.house.produce([flow.create(job_id)])
        self.assertEqual(self.house.wait_state(job_id, "completed")["worker"], self.workers[0])
        self.assertEqual(list(self.house.workers()), self.workers)

    def wait_progress(self, job_id):
        """The record, once some nodes of the graph are done."""
        return pt.wait_for(lambda: (record := self.house.record(job_id)).get("progress_message") and record, 30, "it tells its progress")

    def test_progress_says_how_far_and_at_which_operator(self):
        self.house.produce([self.create("told")])
        record = self.wait_progress("told")
        self.assertTrue(0 < float(record["progress"]) <= 1, record)
        self.assertRegex(record["progress_message"], "^(MatMul|Expand|ReduceMean)$")
        self.house.cancel("told")
        self.house.wait_state("told", "cancelled")

    def test_cancel_stops_it_between_nodes(self):
        self.house.produce([self.create("stopped")])
        self.wait_progress("stopped")
        self.house.cancel("stopped", "changed my mind")
        record = self.house.wait_state("stopped", "cancelled")
        self.assertLess(float(record["progress"]), 1)

    def test_deadline_stops_it_between_nodes(self):
        self.house.produce([self.create("late", timeout_ms=100, max_attempts=1)])
        record = self.house.wait_state("late", "failed")
        self.assertEqual(record["error_code"], "timeout")
        self.assertLess(float(record.get("progress", 0)), 1)


if __name__ == "__main__":
    pt.main()
