"""penstock dev: one command and any Kafka client; and nothing stays behind, however it ends."""
import json
import os
import signal
import time
import types
import unittest

import flow
import penstock_test as pt


class Dev(unittest.TestCase):
    def setUp(self):
        pt.need_program("redis-server", "redis-server")
        pt.need_program("kcat", "kcat")
        self.runtime = pt.temp_dir("runtime")
        self.env = {**os.environ, "XDG_RUNTIME_DIR": str(self.runtime)}
        self.env.pop("PENSTOCK_CONFIG", None)
        self.bootstrap = None

    def start(self, *args):
        dev = pt.Process([pt.penstock_path(), "dev", "-s", f"models.repository={flow.MODELS}", *args],
                         self.runtime / f"dev-{time.monotonic_ns()}.log", env=self.env, cwd=self.runtime)

        def ready():
            if not dev.alive():
                raise AssertionError(f"dev ended:\n{dev.log()}")
            return "is ready" in dev.log()
        pt.wait_for(ready, 30, lambda: f"dev is ready:\n{dev.log()}")
        return dev

    def cli(self, *args, check=True):
        return pt.penstock(*args, check=check, env=self.env)

    def setting(self, section, name):
        return json.loads(self.cli("config", "--json").stdout)[section][name]["value"]

    def stop(self, dev, number):
        """Ends it by a signal and checks that nothing of it is left."""
        pids = [dev.pid, *flow.children(dev.pid)]
        self.assertGreaterEqual(len(pids), 4, "redis-server, a worker, and who sweeps up")
        dev.signal(number)
        self.assertEqual(dev.wait(20), 0, dev.log())
        self.assertEqual([pid for pid in pids if flow.alive(pid)], [])
        self.assertFalse((self.runtime / "penstock-dev").exists())
        self.assertEqual(flow.sanitizer_reports(dev.log()), "")

    def check_job(self, house, job_id, record_schema, event_schema):
        self.assertEqual(house.wait_state(job_id, "completed")["seq"], "3")
        events = house.job_events(job_id)
        self.assertEqual([event.to for event in events], flow.LIFE)
        for seq, event in enumerate(events, 1):
            self.assertEqual(event.seq, seq)
            self.assertEqual(event.raw["key"], job_id)
            self.assertEqual(event.headers["ce_specversion"], "1.0")
            self.assertEqual(event.headers["ce_id"], f"{job_id}:{seq}")
            self.assertEqual(event.headers["ce_type"], f"penstock.job.{event.to}")
            self.assertEqual(event.headers["ce_subject"], job_id)
            self.assertEqual(event.headers["ce_sequence"], str(seq))
            self.assertEqual(event.headers["content-type"], "application/json")
            self.assertTrue(event.headers["ce_source"])
            self.assertRegex(event.headers["ce_time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
            self.assertEqual([error.message for error in event_schema.iter_errors(event.value)], [])
        record = json.loads(self.cli("get", "--json", job_id).stdout)
        self.assertEqual([error.message for error in record_schema.iter_errors(record)], [])
        self.assertEqual((record["job_id"], record["state"], record["seq"]), (job_id, "completed", 3))

    def test_create_in_every_envelope_by_kcat_completes_with_three_events(self):
        schemas = flow.validators()
        dev = self.start()
        url = self.setting("store", "url")
        kafka = types.SimpleNamespace(bootstrap=self.setting("kafka", "bootstrap.servers"))
        redis = types.SimpleNamespace(url=url, port=url.rsplit(":", 1)[1])
        house = flow.House(kafka, redis)
        binary = {"ce_specversion": "1.0", "ce_id": "1", "ce_source": "/test", "ce_type": "penstock.job.create",
                  "content-type": "application/json"}
        structured = {"specversion": "1.0", "id": "2", "source": "/test", "type": "penstock.job.create",
                      "datacontenttype": "application/json", "data": flow.create("structured")}
        pt.kcat_produce(kafka, "penstock.commands", [
            {"value": json.dumps(flow.create("no-key"))},
            flow.message(flow.create("with-key")),
            {**flow.message(flow.create("binary")), "headers": binary},
            {"value": json.dumps(structured), "headers": {"content-type": "application/cloudevents+json"}},
        ])
        for job_id in ("no-key", "with-key", "binary", "structured"):
            with self.subTest(job_id):
                self.check_job(house, job_id, schemas["job-record"], schemas["job-event"])
        self.assertEqual(len(house.events()), 12)
        self.stop(dev, signal.SIGINT)

    def test_sigterm_leaves_no_process_and_no_file(self):
        self.stop(self.start("-s", "worker.count=2"), signal.SIGTERM)

    def test_sigterm_in_mid_job_leaves_no_process_and_no_file(self):
        dev = self.start()
        self.cli("submit", "--model", "echo", "--param", "fake_latency_ms=60000", "--job-id", "long")
        pt.wait_for(lambda: '"running"' in self.cli("get", "--json", "long", check=False).stdout, 20, "it runs")
        self.stop(dev, signal.SIGTERM)

    def test_kill9_leaves_no_process_and_no_file_and_the_next_start_works(self):
        dev = self.start()
        pids = flow.children(dev.pid)
        self.assertGreaterEqual(len(pids), 3, "redis-server, a worker, and who sweeps up")
        dev.kill9()
        pt.wait_for(lambda: not any(flow.alive(pid) for pid in pids), 10, lambda: f"children gone: {pids}")
        self.assertFalse((self.runtime / "penstock-dev").exists())
        self.stop(self.start(), signal.SIGINT)

    def test_kill9_of_all_leaves_files_that_the_next_start_clears(self):
        dev = self.start()
        pids = flow.children(dev.pid)
        for pid in pids:
            flow.signal_process(pid, signal.SIGSTOP)
        dev.kill9()
        for pid in pids:
            flow.signal_process(pid, signal.SIGKILL)
        pt.wait_for(lambda: not any(flow.alive(pid) for pid in pids), 10, lambda: f"children gone: {pids}")
        self.assertTrue((self.runtime / "penstock-dev").exists())
        self.stop(self.start(), signal.SIGINT)

    def test_second_instance_of_the_same_user_is_refused(self):
        dev = self.start()
        second = self.cli("dev", check=False)
        self.assertNotEqual(second.returncode, 0)
        self.assertIn("already running", second.stderr)
        self.assertEqual(self.cli("models").returncode, 0)  # the first one is none the worse
        self.stop(dev, signal.SIGINT)


if __name__ == "__main__":
    pt.main()
