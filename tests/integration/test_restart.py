"""Servers and processes go away under load and come back: every job still completes, and the log says the same as the records.

The load is `solo` jobs of a few ms each, so that thousands of them keep two workers busy for seconds. Events may repeat
(the relay publishes at least once), under the same ids and with the same content.
"""
import unittest

import flow
import penstock_test as pt

LATENCY_MS = 2


def setUpModule():
    global kafka, redis
    kafka, redis = pt.Kafka(), pt.Redis()


class Restart(unittest.TestCase):
    def open(self, name, count, **sections):
        """A house with its workers, and `count` jobs of which some have ended and many have not."""
        self.house = flow.House(kafka, redis, name, **{"worker": {"count": 2}, **sections})
        self.count = count
        serve = self.house.serve()
        self.house.produce([flow.create(f"{name}-{n}", model="solo", fake_latency_ms=LATENCY_MS) for n in range(count)])
        return serve

    def wait_middle(self, part=0.1):
        """A part of the jobs has completed, and there is still something to break."""
        self.house.wait_count("completed", int(self.count * part))
        self.assertLess(self.house.count("completed"), self.count, "over before anything happened: not under load")

    def close(self, deadline=90):
        """All complete, the proof holds, every event is there; then an orderly end."""
        self.house.wait_count("completed", self.count, deadline)
        outcome = self.house.verify("--wait", "30000")
        self.assertEqual(outcome["jobs"], self.count)
        jobs = self.house.check_each_once(self.count)
        self.assertTrue(all(events[-1].to == "completed" for events in jobs.values()))
        flow.say(f"{outcome['repeated']} events repeated, {sum(len(events) > 3 for events in jobs.values())} jobs not in "
                 "one go")
        self.house.stop()
        return jobs

    def test_killed_control_process_loses_nothing(self):
        serve = self.open("killed", 2000)
        for part in (0.1, 0.4):
            self.wait_middle(part)
            pids = flow.children(serve.process.pid)
            self.house.kill9(serve)
            pt.wait_for(lambda: not any(flow.alive(pid) for pid in pids), 15, "its workers end with it")
            serve = self.house.serve(wait=False)
        self.close()

    def test_redis_restarts_under_load(self):
        serve = self.open("redis", 2000)
        for part in (0.1, 0.4):
            self.wait_middle(part)
            redis.terminate()
            redis.start()
        self.assertTrue(serve.alive(), serve.log())
        self.close()

    def test_redis_is_away_until_it_was_missed(self):
        serve = self.open("away", 1000)
        self.wait_middle()
        redis.terminate()
        serve.wait_log(r"store_unavailable|redis .*(refused|closed|hung up)")
        redis.start()
        self.close()
        self.assertNotIn("killed by signal", serve.log())

    def test_redis_is_emptied_while_everybody_goes_on_running(self):
        serve = self.open("emptied", 1000)
        pt.wait_for(lambda: self.house.state("emptied-0") == "completed", 30, "the first job has ended")
        self.house.job_events("emptied-0")  # they are in Kafka
        redis.wipe()
        self.house.wait_count("completed", self.count, 90)  # the commands are read again, all of them
        self.assertTrue(serve.alive(), serve.log())
        self.assertNotIn("killed by signal", serve.log())
        pt.wait_for(lambda: pt.redis_cli(redis, "XLEN", f"{self.house.prefix}outbox") == "0", 30, "the outbox is empty")
        lives = {}
        for event in self.house.events():
            lives.setdefault(event.job_id, []).append(event)
        for job_id, events in lives.items():
            self.assertEqual([event.to for event in events][-3:], flow.LIFE, job_id)
            tokens = [tuple(map(int, event.value["token"].split("-"))) for event in events if event.to == "running"]
            self.assertEqual(tokens, sorted(set(tokens)), f"{job_id}: tokens grow, also beyond what Redis has forgotten")
        self.assertEqual(len(lives), self.count)
        self.assertEqual([event.to for event in lives["emptied-0"]], 2 * flow.LIFE)
        self.house.stop()

    def test_kafka_is_killed_and_started_under_load(self):
        serve = self.open("kafka", 2000)
        self.wait_middle()
        kafka.restart()
        self.assertTrue(serve.alive(), serve.log())
        self.house.produce([flow.create(f"kafka-later-{n}", model="solo") for n in range(500)])
        self.count += 500
        self.close()

    def test_two_control_processes_share_the_work_and_one_is_killed(self):
        self.house = flow.House(kafka, redis, "shared", worker={"count": 1})
        self.count = 3000
        first, second = self.house.serve(), self.house.serve(wait=False)
        second.wait_log(r"assigned shared.commands\[")
        self.house.produce([flow.create(f"shared-{n}", model="solo", fake_latency_ms=LATENCY_MS) for n in range(self.count)])
        self.wait_middle()
        self.house.kill9(first)
        self.close()

    def test_rolling_restart_executes_no_job_twice(self):
        self.house = flow.House(kafka, redis, "rolling", worker={"count": 1})
        self.count = 2000
        serves = [self.house.serve(), self.house.serve(wait=False)]
        serves[1].wait_log(r"assigned rolling.commands\[")
        self.house.produce([flow.create(f"rolling-{n}", model="solo", fake_latency_ms=3 * LATENCY_MS) for n in range(self.count)])
        for part, serve in zip((0.05, 0.3), serves):
            self.wait_middle(part)
            self.house.end(serve)
            self.house.serve(wait=False)
        for job_id, events in self.close().items():
            given_back = [event.seq for event in events if event.value["reason"] == "release"]  # claimed ahead, never run
            life = [event.to for event in events if event.seq not in given_back and event.seq + 1 not in given_back]
            self.assertEqual(life, flow.LIFE, job_id)
            self.assertEqual((events[-1].value["attempt"], events[-1].value["crashes"]), (1, 0))


if __name__ == "__main__":
    pt.main()
