"""What a person asks first: which jobs, which queues, which workers."""
import json
import unittest

import flow
import penstock_test as pt


def setUpModule():
    global house
    kafka, redis = pt.shared_kafka(), pt.Redis()
    house = flow.House(kafka, redis, "views", limits={"running_per_tenant": 1}, worker={"count": 1, "prefetch_below_ms": 0})
    unittest.addModuleCleanup(house.stop)
    house.serve()
    house.produce([flow.create(f"a{n}", labels={"tenant": "acme", "run": str(n % 2)}) for n in range(6)]
                  + [flow.create(f"b{n}", model="solo", labels={"tenant": "other"}) for n in range(3)]
                  + [flow.create("bad", fake_fail="invalid_input")])
    house.wait_count("completed", 9)
    house.wait_state("bad", "failed")


def ids(*args):
    return sorted(json.loads(line)["job_id"] for line in house.cli("list", "--json", *args).stdout.splitlines())


class Views(unittest.TestCase):
    def test_list_filters_by_state_model_label_and_time_together(self):
        self.assertEqual(ids("--state", "failed"), ["bad"])
        self.assertEqual(ids("--model", "solo"), ["b0", "b1", "b2"])
        self.assertEqual(ids("--label", "tenant=acme"), [f"a{n}" for n in range(6)])
        self.assertEqual(ids("--label", "tenant=acme", "--label", "run=1"), ["a1", "a3", "a5"])
        self.assertEqual(ids("--label", "tenant=nobody"), [])
        self.assertEqual(len(ids("--since", "10m")), 10)
        self.assertEqual(ids("--until", "10m"), [])
        self.assertEqual(ids("--model", "echo", "--state", "completed", "--since", "1h", "--label", "run=0"), ["a0", "a2", "a4"])

    def test_list_goes_on_at_the_cursor_without_a_gap_or_a_repeat(self):
        seen, cursor = [], []
        while True:
            done = house.cli("list", "--json", "--limit", "3", *cursor)
            seen += [json.loads(line)["job_id"] for line in done.stdout.splitlines()]
            if "--cursor" not in done.stderr:
                break
            cursor = ["--cursor", done.stderr.split("--cursor ")[1].strip()]
        self.assertEqual(sorted(seen), ids())

    def test_list_refuses_what_it_does_not_understand(self):
        for args in (["--since", "yesterday"], ["--label", "tenant"], ["--state", "gone"], ["--cursor", "1"], ["extra"]):
            done = house.cli("list", *args, check=False)
            self.assertEqual(done.returncode, 2, f"{args}: {done.stderr}")

    def test_queues_and_workers_show_what_runs_what_waits_and_why(self):
        house.produce([flow.create("slow0", model="solo", fake_latency_ms=600000, labels={"tenant": "t"})])
        house.wait_state("slow0", "running")
        house.produce([flow.create(f"slow{n}", model="solo", labels={"tenant": "t"}) for n in (1, 2)])
        for n in (1, 2):
            house.wait_state(f"slow{n}", "queued")
        house.cli("pause", "echo", "--reason", "new weights", "--wait")
        queues = {queue["model"]: queue for queue in map(json.loads, house.cli("queues", "--json").stdout.splitlines())}
        self.assertEqual((queues["echo"]["mode"], queues["echo"]["reason"]), ("paused", "new weights"))
        self.assertEqual((queues["solo"]["running"], queues["solo"]["queued"], queues["solo"]["mode"]), (1, 2, "open"))
        text = house.cli("queues").stdout
        self.assertRegex(text, r"(?m)^echo .*paused\s+new weights")
        self.assertRegex(text, r"(?m)^solo .*open")
        (worker,) = map(json.loads, house.cli("workers", "--json").stdout.splitlines())
        self.assertEqual((worker["jobs"], worker["held"]), (["slow0"], 1))
        self.assertRegex(house.cli("workers").stdout, rf"(?m)^{worker['worker']} .*slow0")
        house.cli("resume", "echo", "--wait")
        house.cancel("slow0")
        house.wait_state("slow0", "cancelled")
        for n in (1, 2):
            house.wait_state(f"slow{n}", "completed", 30)
        self.assertEqual([json.loads(line)["jobs"] for line in house.cli("workers", "--json").stdout.splitlines()], [[]])


if __name__ == "__main__":
    pt.main()
