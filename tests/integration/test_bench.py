"""penstock bench: what it counts, against what the records say."""
import json
import os
import signal
import unittest

import flow
import penstock_test as pt


def setUpModule():
    global env, folder
    pt.need_program("redis-server", "redis-server")
    folder = pt.temp_dir("bench")
    env = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_CONFIG")}
    env["XDG_RUNTIME_DIR"] = str(folder)
    dev = pt.Process([pt.penstock_path(), "dev", "-s", f"models.repository={flow.MODELS}"], folder / "dev.log", env=env, cwd=folder)
    unittest.addModuleCleanup(dev.terminate)
    pt.wait_for(lambda: "is ready" in dev.log(), 60, lambda: f"dev is ready:\n{dev.log()}")


def cli(*args, code=0):
    done = pt.penstock(*args, check=False, env=env)
    assert done.returncode == code, f"{args} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    assert not flow.sanitizer_reports(done.stderr), done.stderr
    return done


def bench(*args, code=0):
    return json.loads(cli("bench", "--json", *args, code=code).stdout)


def records(outcome):
    return [record for record in map(json.loads, cli("list", "--all", "--json").stdout.splitlines())
            if record["job_id"].startswith(outcome["job_ids"].rstrip("*"))]


class Bench(unittest.TestCase):
    def test_every_job_is_counted_once_and_latencies_are_those_of_the_records(self):
        outcome = bench("--model", "echo", "--count", "500", "--param", "fake_latency_ms=20")
        self.assertEqual((outcome["jobs"], outcome["sent"], outcome["completed"], outcome["not_ended"]), (500, 500, 500, 0))
        jobs = records(outcome)
        self.assertEqual(len(jobs), 500)
        runs = sorted(job["finished_at"] - job["started_at"] for job in jobs)
        queues = sorted(job["started_at"] - job["created_at"] for job in jobs)
        for name, values in (("run", runs), ("queue", queues)):
            said = outcome["latency_ms"][name]
            self.assertEqual((said["count"], said["p50"], said["p99"], said["max"]), (500, values[249], values[494], values[-1]))
        self.assertGreaterEqual(outcome["latency_ms"]["run"]["p50"], 20)
        self.assertGreaterEqual(outcome["latency_ms"]["total"]["max"], runs[-1])
        self.assertGreater(outcome["completed_per_second"], 0)

    def test_concurrency_is_the_most_that_is_in_flight(self):
        jobs = records(bench("--model", "solo", "--count", "20", "--concurrency", "2", "--param", "fake_latency_ms=5"))
        moments = sorted([(job["created_at"], 1) for job in jobs] + [(job["finished_at"], -1) for job in jobs])
        in_flight, most = 0, 0
        for _, step in moments:
            in_flight += step
            most = max(most, in_flight)
        self.assertLessEqual(most, 2)

    def test_rate_is_kept(self):
        outcome = bench("--model", "echo", "--count", "60", "--rate", "30")
        self.assertLess(outcome["sent_per_second"], 32)
        self.assertGreaterEqual(outcome["seconds"], 59 / 30)

    def test_failures_and_refusals_are_told_by_reason(self):
        outcome = bench("--model", "echo", "--count", "5", "--param", "fake_fail=invalid_input", code=1)
        self.assertEqual((outcome["failed"], outcome["failures"]), (5, {"invalid_input": 5}))
        outcome = bench("--model", "gone", "--count", "4", code=1)
        self.assertEqual((outcome["rejected"], outcome["failures"], outcome["completed_per_second"]), (4, {"unknown_model": 4}, 0))

    def test_files_are_sent_in_turns(self):
        file = folder / "jobs.json"
        file.write_text('{"model":"echo","labels":{"of":"bench"}} {"model":"solo","labels":{"of":"bench"}}')
        jobs = records(bench(file, "--count", "6", "--label", "more=1"))
        self.assertEqual(sorted(job["model"] for job in jobs), ["echo"] * 3 + ["solo"] * 3)
        self.assertEqual({tuple(job["labels"].items()) for job in jobs}, {(("more", "1"), ("of", "bench"))})

    def test_text_has_rates_and_percentiles(self):
        text = cli("bench", "--model", "echo", "--count", "50").stdout
        self.assertRegex(text, r"(?m)^[\d.]+ jobs/s completed in [\d.]+ s, sent at [\d.]+ jobs/s$")
        self.assertRegex(text, r"(?m)^50 completed, 0 failed, 0 cancelled, 0 rejected, 0 not ended$")
        for name in ("queue", "run", "total"):
            self.assertRegex(text, rf"(?m)^{name}( +[\d.]+ ms){{7}}$")

    def test_jobs_that_do_not_end_are_a_timeout_and_are_counted(self):
        self.assertEqual(bench("--model", "echo", "--count", "3", "--timeout", "500", "--param", "fake_latency_ms=60000",
                               code=5)["not_ended"], 3)
        cli("cancel", *[job["job_id"] for job in map(json.loads, cli("list", "--json", "--state", "running").stdout.splitlines())],
            "--wait")

    def test_interrupted_it_prints_what_there_is(self):
        process = pt.Process([pt.penstock_path(), "bench", "--model", "echo", "--rate", "20", "--count", "100000", "--label", "run=cut"],
                             folder / "cut.log", env=env)
        pt.wait_for(lambda: "run" in cli("list", "--label", "run=cut", "--state", "completed", "--json").stdout, 30, process.log)
        process.signal(signal.SIGINT)
        self.assertEqual(process.wait(), 1)
        self.assertRegex(process.log(), r"(?m)^[1-9]\d* completed, 0 failed")

    def test_wrong_use_is_refused_before_anything_is_sent(self):
        for args in ([], ["--model", "echo", "--rate", "0"], ["--model", "echo", "--count", "many"], ["/nonexistent.json"]):
            cli("bench", *args, code=2)
        (folder / "broken.json").write_text('{"model":"echo","prioritty":1}')
        self.assertIn("prioritty", cli("bench", folder / "broken.json", code=1).stderr)
        self.assertIn("Connect", cli("bench", "--model", "echo", "-s", f"kafka.bootstrap.servers=127.0.0.1:{pt.free_port()}", code=3).stderr)


if __name__ == "__main__":
    pt.main()
