"""Ten thousand jobs: none is lost, none is doubled, and the event log says exactly what the records say."""
import time
import unittest

import flow
import penstock_test as pt

JOBS = 10000


class TenThousand(unittest.TestCase):
    def test_ten_thousand_jobs_complete_with_exactly_thirty_thousand_events(self):
        kafka, redis = pt.shared_kafka(), pt.Redis()
        house = flow.House(kafka, redis, worker={"count": 2})
        house.serve()
        started = time.monotonic()
        house.produce([flow.create(f"job-{n:05d}") for n in range(JOBS)])
        house.wait_count("completed", JOBS, 90)
        took = time.monotonic() - started
        flow.say(f"{JOBS} jobs in {took:.1f} s: {JOBS / took:.0f} jobs/s, kcat's part included")

        outcome = house.verify("--wait", "30000")
        self.assertEqual((outcome["jobs"], outcome["events"], outcome["repeated"], outcome["rejected"]),
                         (JOBS, 3 * JOBS, 0, 0))
        self.assertEqual(len(pt.kcat_read(kafka, house.events_topic)), 3 * JOBS)
        for job_id, events in house.check_each_once(JOBS).items():
            self.assertEqual([event.to for event in events], flow.LIFE, job_id)
        for state in ("queued", "running", "failed", "cancelled"):
            self.assertEqual(house.count(state), 0)
        house.stop()


if __name__ == "__main__":
    pt.main()
