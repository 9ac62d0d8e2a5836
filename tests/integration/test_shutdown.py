"""How a worker ends when it is asked to: what runs is finished or given back uncharged, nothing is lost or run twice."""
import json
import signal
import time
import unittest

import flow
import penstock_test as pt


def setUpModule():
    global kafka, redis
    kafka, redis = pt.shared_kafka(), pt.Redis()


class Shutdown(unittest.TestCase):
    def house(self, name, **worker):
        """A control process without workers."""
        house = flow.House(kafka, redis, name, worker={"prefetch_below_ms": 1000, **worker})
        self.addCleanup(house.stop)
        house.serve("--no-workers")
        return house

    def worker(self, house):
        known = set(house.workers())
        worker = pt.Penstock("worker", house.settings)
        house.serves.append(worker)
        (name,) = pt.wait_for(lambda: set(house.workers()) - known, 30, "the worker is there")
        return worker, name

    def end(self, house, worker, number=signal.SIGTERM, deadline=15):
        """How long it took to end with 0, in seconds."""
        start = time.monotonic()
        worker.process.popen.send_signal(number)
        self.assertEqual(worker.process.wait(deadline), 0, worker.log())
        house.serves.remove(worker)
        house.ended_logs.append(worker.log())
        return time.monotonic() - start

    def test_drain_finishes_what_runs_and_gives_back_what_was_claimed_ahead(self):
        house = self.house("drain", shutdown="drain", shutdown_ms=20000)
        worker, name = self.worker(house)
        house.produce([flow.create(f"quick{n}", model="solo") for n in range(3)])  # so that it claims ahead
        house.wait_count("completed", 3)
        house.produce([flow.create("runs", model="solo", fake_latency_ms=2000)])  # alone: partitions have no order
        house.wait_state("runs", "running")
        house.produce([flow.create("next", model="solo")])
        pt.wait_for(lambda: house.record("next").get("attempt") == "1", 10, "the next job is claimed ahead")
        self.end(house, worker)
        self.assertEqual((house.state("runs"), house.record("runs")["attempt"]), ("completed", "1"))
        self.assertEqual((house.state("next"), house.record("next")["attempt"], house.record("next")["crashes"]),
                         ("queued", "1", "0"))
        self.assertNotIn(name, house.workers())
        self.worker(house)
        house.wait_state("next", "completed")
        house.verify("--ended")

    def test_drain_gives_back_at_its_deadline(self):
        house = self.house("deadline", shutdown="drain", shutdown_ms=500)
        worker, _ = self.worker(house)
        house.produce([flow.create("long", model="solo", fake_latency_ms=8000)])
        house.wait_state("long", "running")
        self.assertLess(self.end(house, worker), 6)
        record = house.record("long")
        self.assertEqual((record["state"], record["attempt"], record["crashes"]), ("queued", "1", "0"))
        self.assertEqual(house.history("long"), ["queued", "running", "queued"])

    def test_requeue_stops_what_runs_and_gives_it_back_at_once(self):
        house = self.house("requeue", shutdown="requeue")
        worker, _ = self.worker(house)
        house.produce([flow.create("long", model="solo", fake_latency_ms=60000)])
        house.wait_state("long", "running")
        self.assertLess(self.end(house, worker), 4)
        self.assertEqual((house.state("long"), house.record("long")["attempt"]), ("queued", "1"))

    def test_immediate_does_not_wait_for_a_run_that_hangs(self):
        house = self.house("immediate", shutdown="immediate", grace_ms=60000)
        worker, _ = self.worker(house)
        house.produce([flow.create("hung", model="solo", fake_hang=True)])
        house.wait_state("hung", "running")
        self.assertLess(self.end(house, worker), 4)
        self.assertEqual((house.state("hung"), house.record("hung")["crashes"]), ("queued", "0"))

    def test_second_signal_makes_a_draining_worker_hurry(self):
        house = self.house("hurry", shutdown="drain", shutdown_ms=60000, grace_ms=60000)
        worker, _ = self.worker(house)
        house.produce([flow.create("hung", model="solo", fake_hang=True)])
        house.wait_state("hung", "running")
        worker.process.popen.send_signal(signal.SIGTERM)
        pt.wait_for(lambda: worker.process.popen.poll() is None, 1, "it drains")
        self.assertLess(self.end(house, worker, signal.SIGQUIT), 4)
        self.assertEqual(house.state("hung"), "queued")

    def test_rolling_restart_of_workers_under_load_loses_and_repeats_nothing(self):
        house = self.house("rolling", shutdown="drain", shutdown_ms=20000)
        workers = [self.worker(house)[0] for _ in range(2)]
        jobs = [f"j{n}" for n in range(400)]
        house.produce([flow.create(job_id, model="solo" if n % 2 else "echo", fake_latency_ms=10)
                       for n, job_id in enumerate(jobs)])
        house.wait_count("completed", 20)
        for old in workers:
            self.worker(house)
            self.end(house, old)
        house.wait_count("completed", len(jobs))
        for job_id, events in house.check_each_once(len(jobs)).items():
            claims = [event for event in events if event.to == "running"]
            ends = [event for event in events if event.to in flow.TERMINAL]
            given_back = [event for event in events if event.to == "queued" and event.seq > 1]
            self.assertEqual((len(ends), len(claims) - len(given_back)), (1, 1), f"{job_id}: {events}")
            self.assertEqual((ends[0].value["attempt"], ends[0].value["crashes"]), (1, 0), job_id)
            self.assertEqual({event.value["reason"] for event in given_back}, {"release"} if given_back else set(), job_id)
        house.verify("--ended")

    def test_serve_hurries_its_workers_at_the_second_signal(self):
        house = flow.House(kafka, redis, "both", worker={"shutdown_ms": 60000, "grace_ms": 60000})
        serve = house.serve()
        house.produce([flow.create("hung", model="solo", fake_hang=True)])
        house.wait_state("hung", "running")
        serve.process.popen.send_signal(signal.SIGTERM)
        serve.wait_log("stopping")
        sent = time.monotonic()
        pt.wait_for(lambda: time.monotonic() - sent > 0.6, 5, "signals that come together are one")
        serve.process.popen.send_signal(signal.SIGTERM)
        self.assertEqual(serve.process.wait(15), 0, serve.log())
        house.serves.remove(serve)
        self.assertEqual((house.state("hung"), json.loads(house.cli("get", "hung", "--json").stdout)["crashes"]), ("queued", 0))
        house.stop()


if __name__ == "__main__":
    pt.main()
