"""Queues are bounded: what does not fit stays in Kafka, cancels still come through, and nobody leaves the group."""
import re
import unittest

import flow
import penstock_test as pt

LIMIT = 40


def setUpModule():
    global kafka, redis
    kafka, redis = pt.shared_kafka(), pt.Redis()


class Backpressure(unittest.TestCase):
    def house(self, name, **sections):
        house = flow.House(kafka, redis, name, **sections)
        self.addCleanup(house.stop)
        return house

    def test_full_queue_leaves_the_rest_in_kafka_and_cancels_pass_by(self):
        house = self.house("full", ingest={"max_queued": LIMIT}, worker={"count": 1})
        serve = house.serve("--no-workers")
        jobs = [f"j{n}" for n in range(5 * LIMIT)]
        house.produce([flow.create(job_id, fake_latency_ms=5) for job_id in jobs])
        serve.wait_log(rf"full\.commands is paused: {LIMIT} jobs of echo are queued, the limit is {LIMIT}")
        self.assertEqual(house.count("queued"), LIMIT)

        first = pt.redis_cli(redis, "ZRANGE", "full:index:queued", "0", "0").strip()
        house.cancel(first)
        house.wait_state(first, "cancelled")  # past the paused topic
        self.assertEqual(house.count("queued"), LIMIT - 1, "went on above four fifths")
        self.assertNotIn("revoked", serve.log())

        worker = pt.Penstock("worker", house.settings)
        house.serves.append(worker)
        house.wait_count("completed", len(jobs) - 1)
        serve.wait_log(r"full\.commands goes on")
        self.assertNotIn("revoked", serve.log())
        house.verify("--ended")

    def test_second_control_process_holds_the_limit_too(self):
        house = self.house("pair", ingest={"max_queued": LIMIT})
        first, second = house.serve("--no-workers"), house.serve("--no-workers")
        house.produce([flow.create(f"j{n}") for n in range(10 * LIMIT)])
        for serve in (first, second):
            serve.wait_log(r"pair\.commands is paused")
        self.assertLessEqual(house.count("queued"), 2 * LIMIT)

    def test_while_everything_drains_commands_wait_in_kafka(self):
        house = self.house("drained", worker={"count": 1})
        serve = house.serve()
        house.produce([flow.create("before")])
        house.wait_state("before", "completed")
        house.produce([{"type": "drain", "reason": "upgrade"}], house.control)
        serve.wait_log(r"drained\.commands is paused: everything drains")
        house.produce([flow.create("after")])
        house.produce([{"type": "resume"}], house.control)
        house.wait_state("after", "completed")
        house.verify("--ended")

    def test_static_member_that_restarts_quickly_moves_no_partition(self):
        houses = [self.house("static", bus={"group_instance_id": f"control-{n}"}) for n in (1, 2)]
        first, second = houses[0].serve("--no-workers"), houses[1].serve("--no-workers")
        partitions = r"assigned static\.commands\[(\d)\]"
        mine = sorted(set(re.findall(partitions, second.log())))
        seen = len(first.log())
        houses[1].kill9(second)
        again = houses[1].serve("--no-workers")
        pt.wait_for(lambda: sorted(set(re.findall(partitions, again.log()))) == mine, 20, "it has its partitions again")
        self.assertNotRegex(first.log()[seen:], "assigned|revoked")
        houses[0].produce([flow.create(f"s{n}") for n in range(20)])
        houses[0].wait_count("queued", 20)


if __name__ == "__main__":
    pt.main()
