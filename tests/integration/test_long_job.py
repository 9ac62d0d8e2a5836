"""A job that runs many times longer than its lease is executed once, whatever happens around it.

20 s of work on a lease of 1 s are what five minutes are to the default lease of 15 s. Meanwhile the group rebalances, every
control process is replaced, and Redis drops every connection. The same with half an hour of work, in virtual time:
tests/sim/test_sim.c.
"""
import unittest

import flow
import penstock_test as pt

WORK_MS = 20000


def setUpModule():
    global kafka, redis
    kafka, redis = pt.Kafka(), pt.Redis()


class LongJob(unittest.TestCase):
    def worker(self, house):
        worker = pt.Penstock("worker", house.settings)
        house.serves.append(worker)
        pt.wait_for(lambda: house.workers(), 30, "the worker is there")

    def test_long_job_is_executed_once_through_rebalance_restart_and_reconnect(self):
        house = flow.House(kafka, redis, "long", worker={"lease_ms": 1000, "count": 0})
        first = house.serve("--no-workers")
        self.worker(house)
        house.produce([flow.create("long", model="solo", fake_latency_ms=WORK_MS)])
        house.wait_state("long", "running")
        token = house.record("long")["token"]

        second = house.serve("--no-workers", wait=False)
        second.wait_log(r"assigned long.commands\[")  # the group has rebalanced
        house.end(first)                              # a rolling restart: the other one takes over, and is replaced
        third = house.serve("--no-workers", wait=False)
        third.wait_log(r"starts as")
        house.end(second)
        third.wait_log(r"assigned long.commands\[")
        for kind in ("normal", "pubsub"):
            pt.redis_cli(redis, "CLIENT", "KILL", "TYPE", kind)

        record = house.record("long")
        self.assertEqual((record["state"], record["token"]), ("running", token), "over before anything happened")
        house.wait_state("long", "completed", WORK_MS // 1000 + 30)
        events = house.job_events("long")
        self.assertEqual([event.to for event in events], flow.LIFE)
        self.assertEqual({event.value.get("token") for event in events[1:]}, {token})
        self.assertEqual((events[-1].value["attempt"], events[-1].value["crashes"]), (1, 0))
        house.verify()
        house.stop()


if __name__ == "__main__":
    pt.main()
