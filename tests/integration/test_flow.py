"""The whole flow on a real Apache Kafka and a Redis of the user's own, wired by a configuration file and nothing else."""
import json
import unittest

import flow
import penstock_test as pt

SAMPLES = pt.SOURCE_DIR / "models/digits/samples"


class Flow(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka, cls.redis = pt.shared_kafka(), pt.Redis()
        cls.house = flow.House(cls.kafka, cls.redis, models={"repository": pt.SOURCE_DIR / "models"})
        cls.house.serve()

    @classmethod
    def tearDownClass(cls):
        cls.house.stop()

    def test_all_twenty_samples_are_recognised(self):
        labels = json.loads((SAMPLES / "labels.json").read_text())
        self.assertEqual(len(labels), 20)
        self.house.produce([{"type": "create", "job_id": f"digit-{name}", **json.loads((SAMPLES / name).read_text())}
                            for name in labels])
        schemas = flow.validators()
        for name, label in labels.items():
            self.house.wait_state(f"digit-{name}", "completed")
            record = json.loads(self.house.cli("get", "--json", f"digit-{name}").stdout)
            self.assertEqual([error.message for error in schemas["job-record"].iter_errors(record)], [])
            (output,) = record["result"]["outputs"]
            self.assertEqual(output["data"].index(max(output["data"])), int(label), name)
        for name in labels:
            self.assertEqual(self.house.history(f"digit-{name}"), flow.LIFE)
        for event in self.house.events():
            self.assertEqual([error.message for error in schemas["job-event"].iter_errors(event.value)], [])
        self.assertTrue(self.house.verify()["ok"])

    def test_demo_says_that_it_works(self):
        self.assertEqual(self.house.cli("demo").returncode, 0)

    def test_client_in_another_language_sends_a_job_and_reads_its_events(self):
        job = {"type": "create", "job_id": "from-java", **json.loads((SAMPLES / "07.json").read_text())}
        pt.java_client(self.kafka, "produce", "penstock.commands", "from-java", input=json.dumps(job))
        self.house.wait_state("from-java", "completed")
        lines = pt.java_client(self.kafka, "consume", "penstock.events", "from-java", "3").splitlines()
        events = [line.split(" ", 3) for line in lines]
        self.assertEqual([event[2] for event in events], [f"penstock.job.{to}" for to in flow.LIFE])
        self.assertEqual([json.loads(event[3])["seq"] for event in events], [1, 2, 3])

    def test_job_and_its_events_lie_where_java_would_put_the_key(self):
        job = {"type": "create", "job_id": "placed", **json.loads((SAMPLES / "01.json").read_text())}
        partition = int(pt.java_client(self.kafka, "produce", "penstock.commands", "placed", input=json.dumps(job)).split()[0])
        self.house.wait_state("placed", "completed")
        self.assertEqual({event.raw["partition"] for event in self.house.job_events("placed")}, {partition})


if __name__ == "__main__":
    pt.main()
