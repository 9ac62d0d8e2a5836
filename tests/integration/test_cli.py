"""The command line against real servers, and against servers that are not there: exit codes, messages, JSON.

Exit codes: 0 done, 1 the job failed, 2 usage or configuration, 3 a server is unreachable, 4 not found, 5 timed out.
"""
import json
import os
import time
import unittest

import flow
import penstock_test as pt

BOUND_SECONDS = 20  # for what must give up: 5 s without a broker's answer, 10 s without Redis; the rest is a loaded machine


class Cli(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka, cls.redis = pt.shared_kafka(), pt.Redis()
        cls.house = flow.House(cls.kafka, cls.redis)
        cls.house.serve()
        cls.dir = pt.temp_dir("cli")
        cls.env = {name: value for name, value in os.environ.items()
                   if not name.startswith("PENSTOCK_") and name != "XDG_RUNTIME_DIR"}
        cls.env["XDG_RUNTIME_DIR"] = str(cls.dir)  # nobody's dev instance

    @classmethod
    def tearDownClass(cls):
        cls.house.stop()

    def call(self, *args, code=0, **kwargs):
        """Runs it and checks the exit code; JSON errors and hints are checked by whoever asks for them."""
        done = self.house.cli(*args, check=False, env={**self.env, **kwargs.pop("env", {})}, **kwargs)
        self.assertEqual(done.returncode, code, f"{args}:\n{done.stdout}{done.stderr}")
        return done

    def bare(self, *args, code=0, env=None):
        """Without the house's configuration file."""
        done = pt.penstock(*args, check=False, env={**self.env, **(env or {})})
        self.assertEqual(done.returncode, code, f"{args}:\n{done.stdout}{done.stderr}")
        self.assertEqual(flow.sanitizer_reports(done.stderr), "")
        return done

    def envelope(self, done):
        """The error on standard error with --json."""
        lines = [line for line in done.stderr.splitlines() if line.startswith("{")]
        error = json.loads(lines[-1])
        self.assertEqual(set(error), {"code", "hint", "message", "retryable"})
        return error

    # --- jobs ---

    def test_submit_wait_of_a_completing_job_is_0(self):
        done = self.call("submit", "--model", "echo", "--job-id", "ok-1", "--wait")
        self.assertRegex(done.stdout, r"^ok-1\s+completed")

    def test_submit_prints_ids_and_wait_takes_them(self):
        ids = self.call("submit", "--model", "echo", "--count", "5").stdout.split()
        self.assertEqual(len(set(ids)), 5)
        self.assertEqual(len(self.call("wait", *ids).stdout.splitlines()), 5)

    def test_submit_reads_standard_input(self):
        done = self.call("submit", "-", "--wait", input='{"model":"echo","job_id":"stdin-1"}\n{"model":"echo","job_id":"stdin-2"}')
        self.assertEqual(sorted(line.split()[0] for line in done.stdout.splitlines()), ["stdin-1", "stdin-2"])

    def test_submit_wait_of_a_failing_job_is_1(self):
        done = self.call("submit", "--model", "echo", "--job-id", "bad-1", "--param", "fake_fail=invalid_input", "--wait", code=1)
        self.assertRegex(done.stdout, r"^bad-1\s+failed")
        self.assertEqual(json.loads(self.call("get", "--error", "bad-1").stdout)["code"], "invalid_input")

    def test_wait_of_a_cancelled_job_is_1(self):
        self.call("submit", "--model", "echo", "--job-id", "away-1", "--not-before", "2999-01-01T00:00:00Z")
        self.house.wait_state("away-1", "queued")
        self.call("cancel", "away-1", "--wait")
        self.call("wait", "away-1", code=1)

    def test_wait_timeout_is_5(self):
        self.call("submit", "--model", "echo", "--job-id", "slow-1", "--not-before", "2999-01-01T00:00:00Z")
        error = self.envelope(self.call("wait", "--json", "--timeout", "300", "slow-1", code=5))
        self.assertEqual((error["code"], error["retryable"]), ("wait_timeout", True))
        self.call("submit", "--model", "echo", "--not-before", "2999-01-01T00:00:00Z", "--wait", "--wait-timeout", "300", code=5)

    def test_cancel_that_comes_too_late_is_1(self):
        self.call("submit", "--model", "echo", "--job-id", "done-1", "--wait")
        self.call("cancel", "done-1", "--wait", code=1)

    def test_unknown_id_is_4(self):
        self.assertEqual(self.envelope(self.call("get", "--json", "nobody", code=4))["code"], "not_found")
        self.call("events", "--job", "nobody", code=4)

    def test_get_shows_record_spec_result_and_error(self):
        self.call("submit", "--model", "echo", "--job-id", "whole-1", "--label", "a=b", "--wait")
        record = json.loads(self.call("get", "--json", "whole-1").stdout)
        self.assertEqual((record["state"], record["result"]["model_name"]), ("completed", "echo"))
        self.assertEqual(json.loads(self.call("get", "--spec", "whole-1").stdout)["labels"], {"a": "b"})
        self.assertEqual(json.loads(self.call("get", "--result", "whole-1").stdout), record["result"])
        self.assertEqual(self.call("get", "--error", "whole-1", code=4).stdout, "")

    def test_submit_lays_labels_and_backoff_over_the_job(self):
        self.call("submit", "--model", "echo", "--job-id", "laid-1", "--label", "tenant=acme", "--label", "run=7",
                  "--backoff-ms", "20", "--backoff-max-ms", "400", "--wait")
        record = json.loads(self.call("get", "--json", "laid-1").stdout)
        self.assertEqual(record["labels"], {"run": "7", "tenant": "acme"})
        self.assertEqual((record["tenant"], record["backoff_ms"], record["backoff_max_ms"]), ("acme", 20, 400))
        self.assertIn("backoff_ms", self.call("submit", "--model", "echo", "--backoff-ms", "0", code=1).stderr)

    def test_list_by_state_and_model(self):
        self.call("submit", "--model", "solo", "--job-id", "listed", "--count", "3", "--wait")
        self.call("submit", "--model", "solo", "--job-id", "listed-failed", "--param", "fake_fail=invalid_input", "--wait", code=1)
        everything, jobs = ([json.loads(line) for line in self.call("list", "--all", "--json", *filters).stdout.splitlines()]
                            for filters in ([], ["--state", "completed", "--model", "solo"]))
        ids = [job["job_id"] for job in jobs]
        self.assertEqual(sorted(ids), sorted(job["job_id"] for job in everything  # those of other tests, too
                                             if (job["state"], job["model"]) == ("completed", "solo")))
        self.assertEqual([job_id for job_id in sorted(ids) if job_id.startswith("listed")], ["listed-1", "listed-2", "listed-3"])
        self.assertIn("listed-1", self.call("list", "--model", "solo").stdout)
        self.call("list", "--state", "finished", code=2)

    def test_events_of_a_job(self):
        self.call("submit", "--model", "echo", "--job-id", "story-1", "--wait")
        self.house.job_events("story-1")  # they follow the record
        events = [json.loads(line) for line in self.call("events", "--job", "story-1", "--json").stdout.splitlines()]
        self.assertEqual([event["to"] for event in events], flow.LIFE)
        self.assertEqual(len(self.call("events", "--job", "story-1").stdout.splitlines()), 3)

    def test_events_follows_until_it_is_stopped(self):
        follower = pt.Process([pt.penstock_path(), "events", "-c", self.house.config_path, "--json"], self.dir / "follow.log",
                              env=self.env)
        deadline = time.monotonic() + 20
        while "heard" not in follower.log():  # it begins at the end of the log, whenever it gets there
            self.call("submit", "--model", "echo", "--job-id", f"heard-{time.monotonic_ns()}", "--wait")
            self.assertLess(time.monotonic(), deadline, follower.log())
        self.assertEqual(follower.terminate(), 0)

    def test_events_followed_of_one_job_end_with_it(self):
        self.call("submit", "--model", "echo", "--job-id", "told-1", "--param", "fake_latency_ms=300")
        done = self.call("events", "--follow", "--job", "told-1", "--json")
        self.assertEqual([json.loads(line)["to"] for line in done.stdout.splitlines()], flow.LIFE)
        only = self.call("events", "--job", "told-1", "--state", "running", "--json").stdout.splitlines()
        self.assertEqual([json.loads(line)["to"] for line in only], ["running"])
        self.assertIn("rejected", self.call("events", "--state", "gone", code=2).stderr)

    def test_events_are_filtered_by_model_and_by_type(self):
        for model in ("echo", "solo"):
            self.call("submit", "--model", model, "--job-id", f"of-{model}", "--wait")
            self.call("submit", "--model", model, "--job-id", f"bad-{model}", "--param", "fake_fail=invalid_input", "--wait", code=1)
            self.house.job_events(f"bad-{model}")

        def seen(*args):
            """What is printed of these four, by job: the order of partitions is nobody's."""
            jobs = {}
            for event in map(json.loads, self.call("events", "--from-beginning", "--json", *args).stdout.splitlines()):
                jobs.setdefault(event.get("job_id"), []).append(event["to"])
            return {job: jobs[job] for job in ("of-echo", "bad-echo", "of-solo", "bad-solo") if job in jobs}
        self.assertEqual(seen("--model", "solo"), {"of-solo": flow.LIFE, "bad-solo": ["queued", "running", "failed"]})
        self.assertEqual(seen("--model", "solo", "--type", "penstock.job.failed"), {"bad-solo": ["failed"]})
        self.assertEqual(seen("--type", "failed", "--state", "running"),
                         {"of-echo": ["running"], "bad-echo": ["running", "failed"], "of-solo": ["running"],
                          "bad-solo": ["running", "failed"]})
        self.assertIn("with penstock.job. before it", self.call("events", "--type", "penstock.job.gone", code=2).stderr)

    def test_events_of_a_model_are_heard_of_jobs_that_were_there_before(self):
        self.call("submit", "--model", "solo", "--job-id", "before-1", "--not-before", "2999-01-01T00:00:00Z")
        self.house.wait_state("before-1", "queued")
        self.house.job_events("before-1")
        follower = pt.Process([pt.penstock_path(), "events", "-c", self.house.config_path, "--json", "--model", "solo"],
                              self.dir / "of-model.log", env=self.env)
        deadline = time.monotonic() + 20
        while "heard" not in follower.log():
            self.call("submit", "--model", "solo", "--job-id", f"heard-{time.monotonic_ns()}", "--wait")
            self.assertLess(time.monotonic(), deadline, follower.log())
        self.call("submit", "--model", "echo", "--job-id", "unheard-1", "--wait")
        self.call("cancel", "before-1", "--wait")
        pt.wait_for(lambda: "before-1" in follower.log(), 20, follower.log)
        self.assertNotIn("unheard", follower.log())
        self.assertEqual(follower.terminate(), 0)

    def test_models_lists_what_the_worker_has(self):
        self.assertRegex(self.call("models").stdout, r"(?m)^echo\s")
        worker = json.loads(self.call("models", "--json").stdout.splitlines()[0])
        self.assertEqual({model["name"] for model in worker["models"]}, {"echo", "solo"})

    def test_verify_finds_nothing_wrong(self):
        self.house.verify()

    # --- what is refused before anything is sent ---

    def test_broken_json_file_is_an_error_of_the_caller(self):
        broken = self.dir / "broken.json"
        broken.write_text('{"model": "echo", "inputs": [}')
        done = self.call("submit", broken, code=1)
        self.assertIn("broken.json", done.stderr)
        self.assertEqual(self.envelope(self.call("submit", "--json", broken, code=1))["code"], "malformed_json")

    def test_invalid_command_is_refused_by_name_and_nothing_is_sent(self):
        before = len(pt.kcat_read(self.kafka, self.house.commands))
        job = self.dir / "job.json"
        job.write_text('{"model": "echo"} {"model": "echo", "prioritty": 3}')
        done = self.call("submit", job, code=1)
        self.assertIn("prioritty", done.stderr)
        self.assertEqual(len(pt.kcat_read(self.kafka, self.house.commands)), before)

    def test_missing_file_and_usage_errors_are_2(self):
        for args in (("submit", "/nonexistent.json"), ("submit",), ("submit", "--modell", "echo"), ("get",), ("list", "--limit", "x"),
                     ("wait", "--timeout", "soon", "a"), ("verify", "now"), ("serve", "now"), ("worker", "--id", "a b")):
            with self.subTest(args):
                self.assertIn("hint:", self.call(*args, code=2).stderr)
        self.assertIn("--model", self.call("submit", "--modell", "echo", code=2).stderr)
        self.assertIn("submit", self.bare("submitt", code=2).stderr)
        self.bare(code=2)

    def test_json_holds_wherever_it_stands_and_whatever_is_wrong(self):
        for args in (("submitt", "--json"), ("list", "--limmit", "3", "--json"), ("list", "--state", "gone", "--json"),
                     ("--json", "list"), ("config", "--check", "-s", "worker.cuont=1", "--json"), ("get", "--json")):
            with self.subTest(args):
                done = self.bare(*args, code=2)
                self.assertEqual(done.stdout, "")
                (line,) = done.stderr.splitlines()
                self.assertEqual(set(json.loads(line)), {"code", "hint", "message", "retryable"})

    # --- configuration ---

    def test_config_check_names_what_is_wrong(self):
        self.call("config", "--check")
        outcome = json.loads(self.call("config", "--check", "--json").stdout)
        self.assertEqual((outcome["valid"], outcome["file"], outcome["errors"]), (True, str(self.house.config_path), 0))
        refused = self.call("config", "--check", "--json", "-s", "kafka.acks=1", code=2)
        self.assertEqual((json.loads(refused.stdout)["valid"], self.envelope(refused)["code"]), (False, "invalid_config"))
        for setting, word in (("worker.count=many", "worker.count"), ("worker.cuont=1", "worker.count"),
                              ("kafka.acks=1", "acks"), ("kafka.no.such.property=1", "no.such.property"),
                              ("worker.lease_ms=5", "1000")):
            with self.subTest(setting):
                self.assertIn(word, self.call("config", "--check", "-s", setting, code=2).stderr)

    def test_config_prints_the_values_that_are_named(self):
        done = self.call("config", "store.url", "worker.count", "kafka.bootstrap.servers", "-s", "worker.count=7")
        self.assertEqual(done.stdout, f"{self.redis.url}\n7\n{self.kafka.bootstrap}\n")
        self.assertEqual(self.call("config", "worker.count", "store.prefix", "--json").stdout, '1\n"penstock:"\n')
        self.assertNotIn("hidden", self.call("config", "store.password", "-s", "store.password=hidden").stdout)
        self.assertIn("did you mean 'worker.count'", self.call("config", "worker.cuont", code=2).stderr)

    def test_config_check_tells_all_that_is_wrong_at_once(self):
        wrong = {"kafka.ssl.ca.location": "/nonexistent/ca.pem", "bus.dlq_topic": "penstock.events",
                 "bus.group": "penstock", "bus.control_topic": "a topic", "store.url": "redis:/x",
                 "limits.running_by_tenant": "acme", "artifacts.root": "/nonexistent/artifacts",
                 "worker.executor": "onnx-tpu", "models.repository": "/nonexistent/models"}
        said = self.call("config", "--check", *[f"-s{name}={value}" for name, value in wrong.items()], code=2).stderr
        for words in ("kafka.ssl.ca.location: /nonexistent/ca.pem: No such file", "bus.events_topic and bus.dlq_topic are the same",
                      "bus.control_topic = 'a topic' is no name", "store.url: not of the form", "\"acme\" is not of the form",
                      "artifacts.root: /nonexistent/artifacts: No such file", "onnx-tpu", "/nonexistent/models"):
            with self.subTest(words):
                self.assertIn(words, said)
        self.assertIn("did you mean 'sasl.mechanisms'?",
                      self.call("config", "--check", "-s", "kafka.sasl.mechanizms=PLAIN", code=2).stderr)

    def test_config_check_warns_of_what_works_otherwise_than_meant(self):
        key = self.dir / "key.pem"
        key.write_text("s\n")
        key.chmod(0o644)
        done = self.call("config", "--check", "-s", f"store.password_file={key}", "-s", "jobs.timeout_max_ms=5",
                         "-s", f"kafka.ssl.key.location={key}")
        for words in ("others may read the secret", "over jobs.timeout_max_ms = 5", "others may read the private key"):
            self.assertIn(f"warning: ", done.stderr)
            self.assertIn(words, done.stderr)
        self.assertNotIn("s\n\n", done.stderr)

    def test_config_check_connects_only_when_asked(self):
        away = ["-s", f"store.url=redis://127.0.0.1:{pt.free_port()}", "-s", f"kafka.bootstrap.servers=127.0.0.1:{pt.free_port()}"]
        self.call("config", "--check", *away)
        said = self.call("config", "--check", "--connect", *away, code=2).stderr
        self.assertIn("redis 127.0.0.1:", said)
        self.assertIn("kafka ", said)
        self.call("config", "--check", "--connect")

    def test_missing_configuration_file_is_2(self):
        for command in ("get", "serve", "worker", "verify"):
            done = pt.penstock(command, "-c", self.dir / "missing.ini", *(["x"] if command == "get" else []), check=False, env=self.env)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn("missing.ini", done.stderr)

    def test_environment_and_penstock_config(self):
        env = {"PENSTOCK_STORE_URL": self.redis.url, "PENSTOCK_KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap}
        self.assertIn("env-1", self.bare("submit", "--model", "echo", "--job-id", "env-1", "--wait", env=env).stdout)
        self.bare("get", "env-1", env={"PENSTOCK_CONFIG": str(self.house.config_path)})
        self.assertIn("PENSTOCK_STORE_ULR", self.bare("config", env={"PENSTOCK_STORE_ULR": "x"}, code=2).stderr)
        # flags win over the environment, and the environment over the file
        shown = json.loads(self.call("config", "--json", "-s", "worker.count=7", env={"PENSTOCK_WORKER_COUNT": "5",
                                                                                 "PENSTOCK_WORKER_THREADS": "3"}).stdout)
        self.assertEqual((shown["worker"]["count"]["value"], shown["worker"]["threads"]["value"]), (7, 3))

    # --- servers that are not there ---

    def dead(self, calls, settings, word):
        """Exit code 3 within a bounded time, with a hint; the same as an envelope with --json. All at once: they wait."""
        options = [part for setting in settings for part in ("-s", setting)]
        started = time.monotonic()
        for kind in ([], ["--json"]):
            running = [(args, pt.Process([pt.penstock_path(), args[0], "-c", self.house.config_path, *args[1:], *kind, *options],
                                         self.dir / f"{'-'.join(args)}{''.join(kind)}.log", env=self.env)) for args in calls]
            for args, process in running:
                with self.subTest(args=args, kind=kind):
                    self.assertEqual(process.wait(BOUND_SECONDS), 3, process.log())
                    self.assertIn(word, process.log())
                    self.assertIn("retryable\":true" if kind else "hint:", process.log())
                    self.assertEqual(flow.sanitizer_reports(process.log()), "")
        flow.say(f"{len(calls)} commands gave up within {(time.monotonic() - started) / 2:.1f} s")

    def test_dead_kafka_is_3_with_a_hint(self):
        port = pt.free_port()
        self.dead([("submit", "--model", "echo"), ("cancel", "x"), ("pause", "x"), ("events", "--from-beginning"), ("verify",)],
                  [f"kafka.bootstrap.servers=127.0.0.1:{port}"], f"127.0.0.1:{port}/bootstrap: Connect")

    def test_dead_redis_is_3_with_a_hint(self):
        port = pt.free_port()
        self.dead([("get", "x"), ("list",), ("models",), ("verify",), ("wait", "x")],
                  [f"store.url=redis://127.0.0.1:{port}", "store.timeout_ms=2000"], f"127.0.0.1:{port}")

    def test_redis_that_evicts_is_refused_at_the_start(self):
        redis = pt.Redis("--maxmemory-policy", "allkeys-lru")
        done = self.call("serve", "-s", f"store.url={redis.url}", code=1)
        self.assertIn("noeviction", done.stderr)
        redis.stop()


if __name__ == "__main__":
    pt.main()
