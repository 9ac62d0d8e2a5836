"""Workers that die, stand still, hang; jobs that kill, fail, are cancelled, wait. Every job still ends, once."""
import datetime
import signal
import unittest

import flow
import penstock_test as pt

REQUEUED = ["queued", "running", "queued", "running", "completed"]
SLACK_MS = 1000  # over what a job itself takes: finding out, claiming and finishing take a few ms on an idle machine


def setUpModule():
    global kafka, redis
    kafka, redis = pt.shared_kafka(), pt.Redis()


class Base(unittest.TestCase):
    """One house for a class: its own topics, group and keys on the shared servers."""
    settings = {}

    @classmethod
    def setUpClass(cls):
        cls.house = flow.House(kafka, redis, cls.__name__.lower(), **cls.settings)
        cls.serve = cls.house.serve()

    @classmethod
    def tearDownClass(cls):
        cls.house.stop()

    def wait_running(self, job_id):
        """The record of the running job, and the pid of its worker."""
        record = self.house.wait_state(job_id, "running")
        return record, self.house.pid_of(record["worker"])


class Killed(Base):
    settings = {"worker": {"count": 2}}  # and the lease is 15 s: nothing here waits for it

    def test_job_of_a_killed_worker_completes_on_another_without_waiting_for_the_lease(self):
        latency_ms = 1500
        self.house.produce([flow.create("k1", fake_latency_ms=latency_ms)])
        first, pid = self.wait_running("k1")
        killed_at = flow.now_ms()
        flow.signal_process(pid, signal.SIGKILL)
        record = self.house.wait_state("k1", "completed")
        self.assertEqual((record["crashes"], record["attempt"]), ("1", "1"))
        self.assertNotEqual(record["worker"], first["worker"])
        self.assertLess(int(record["finished_at"]) - killed_at, latency_ms + SLACK_MS)
        self.assertEqual(self.house.history("k1"), REQUEUED)
        requeued = self.house.job_events("k1")[2]
        self.assertEqual(requeued.value["reason"], "worker_lost")
        self.assertLess(requeued.value["at"] - killed_at, SLACK_MS)

    def test_poison_job_fails_as_worker_lost_and_takes_no_other_along(self):
        others = [f"beside-{n}" for n in range(20)]
        self.house.produce([flow.create("poison", fake_crash=True, fake_latency_ms=50)]
                           + [flow.create(job_id, fake_latency_ms=20) for job_id in others])
        record = self.house.wait_state("poison", "failed", 30)
        self.assertEqual((record["error_code"], record["crashes"]), ("worker_lost", "3"))
        # A run among others is not charged: it may have been the fault of one of them.
        history = self.house.history("poison")
        self.assertIn(history, [["queued", "running"] * starts + ["failed"] for starts in (3, 4)])
        for job_id in others:
            self.house.wait_state(job_id, "completed", 30)

    def test_two_poison_jobs_fail_and_the_others_complete(self):
        others = [f"between-{n}" for n in range(20)]
        self.house.produce([flow.create("poison-1", fake_crash=True)]
                           + [flow.create(job_id, fake_latency_ms=20) for job_id in others]
                           + [flow.create("poison-2", fake_crash=True)])
        for job_id in ("poison-1", "poison-2"):
            self.assertEqual(self.house.wait_state(job_id, "failed", 30)["error_code"], "worker_lost")
        for job_id in others:
            self.house.wait_state(job_id, "completed", 30)

    def test_job_that_crashes_twice_completes_at_the_third_start(self):
        self.house.produce([flow.create("weak", fake_crash_attempts=2)])
        record = self.house.wait_state("weak", "completed", 30)
        self.assertEqual((record["crashes"], record["attempt"]), ("2", "1"))

    def test_zz_all_of_it_is_in_the_event_log(self):
        self.house.verify()


class Stopped(Base):
    settings = {"worker": {"count": 2, "lease_ms": 1000}}

    def test_late_result_of_a_worker_that_stood_still_is_refused(self):
        self.house.produce([flow.create("s1", fake_latency_ms=3000)])
        first, pid = self.wait_running("s1")
        flow.stop_process(pid)
        record = self.house.wait_state("s1", "completed")
        self.assertNotEqual(record["worker"], first["worker"])
        self.assertEqual(record["crashes"], "1")
        self.assertEqual(self.house.history("s1"), REQUEUED)
        events = len(self.house.events())
        flow.signal_process(pid, signal.SIGCONT)
        self.serve.wait_log(r"job s1: late result refused")
        self.assertEqual(self.house.record("s1"), record)
        self.house.verify()
        self.assertEqual(len(self.house.events()), events)
        self.assertTrue(flow.alive(pid), "being late is no reason to end")
        self.house.produce([flow.create("s2")])
        self.house.wait_state("s2", "completed")


class Hung(Base):
    settings = {"worker": {"count": 1, "grace_ms": 300}, "jobs": {"retry_backoff_ms": 100}}

    def test_run_that_hangs_past_its_timeout_fails_and_its_worker_is_replaced(self):
        self.house.produce([flow.create("h1", fake_hang=True, timeout_ms=2000)])
        first, pid = self.wait_running("h1")
        record = self.house.wait_state("h1", "failed")
        self.assertEqual((record["error_code"], record["crashes"]), ("timeout", "0"))
        self.assertGreaterEqual(int(record["duration_ms"]), 2000)
        self.assertLess(int(record["duration_ms"]), 2000 + 300 + SLACK_MS)
        pt.wait_for(lambda: not flow.alive(pid), 5, "the stuck worker ends")
        self.house.produce([flow.create("h2")])
        self.assertNotEqual(self.house.wait_state("h2", "completed")["worker"], first["worker"])
        self.assertEqual(self.house.history("h1"), ["queued", "running", "failed"])

    def test_run_that_obeys_its_timeout_fails_and_its_worker_stays(self):
        self.house.produce([flow.create("t1", fake_latency_ms=60000, timeout_ms=2000)])
        _, pid = self.wait_running("t1")
        self.assertEqual(self.house.wait_state("t1", "failed")["error_code"], "timeout")
        self.assertTrue(flow.alive(pid))

    def test_hung_run_harms_no_other_job_of_its_batch(self):
        others = [f"hang-mate-{n}" for n in range(10)]
        self.house.produce([flow.create("h3", fake_hang=True, timeout_ms=300)] + [flow.create(job_id) for job_id in others])
        self.assertEqual(self.house.wait_state("h3", "failed")["error_code"], "timeout")
        for job_id in others:
            record = self.house.wait_state(job_id, "completed")
            self.assertEqual((record["attempt"], record["crashes"]), ("1", "0"))

    def test_cancelled_hung_run_is_reported_cancelled_only_when_its_process_is_gone(self):
        self.house.produce([flow.create("h4", fake_hang=True)])
        _, pid = self.wait_running("h4")
        self.house.cancel("h4")
        pt.wait_for(lambda: self.house.record("h4").get("cancel_requested") == "1", 20, "cancel_requested")
        self.assertTrue(flow.alive(pid))
        self.house.wait_state("h4", "cancelled")
        self.assertFalse(flow.alive(pid))
        self.assertEqual(self.house.history("h4"), ["queued", "running", "cancelled"])

    def test_zz_all_of_it_is_in_the_event_log(self):
        self.house.verify()


class Ends(Base):
    # What a worker takes for a quick run, and so claims ahead of, is one on a loaded machine, too.
    settings = {"worker": {"count": 1, "prefetch_below_ms": 500}, "jobs": {"retry_backoff_ms": 100}}

    def test_failure_that_passes_is_retried_with_backoff(self):
        self.house.produce([flow.create("r1", fake_fail_attempts=2, max_attempts=3)])
        record = self.house.wait_state("r1", "completed")
        self.assertEqual((record["attempt"], record["crashes"]), ("3", "0"))
        self.assertEqual(self.house.history("r1"), ["queued", "running", "queued", "running", "queued", "running", "completed"])
        events = self.house.job_events("r1")
        for retry, again, most_ms in ((events[2], events[3], 100), (events[4], events[5], 200)):
            self.assertEqual(retry.value["reason"], "retry")
            not_before = retry.value.get("not_before", retry.value["at"])
            self.assertLessEqual(not_before - retry.value["at"], most_ms)
            self.assertGreaterEqual(again.value["at"], not_before)

    def test_failure_that_stays_fails_when_the_attempts_are_used_up(self):
        self.house.produce([flow.create("r2", fake_fail="execution_failed", max_attempts=2)])
        record = self.house.wait_state("r2", "failed")
        self.assertEqual((record["attempt"], record["error_code"]), ("2", "execution_failed"))
        self.assertEqual(self.house.history("r2"), ["queued", "running", "queued", "running", "failed"])

    def test_failure_that_cannot_pass_is_not_retried(self):
        self.house.produce([flow.create("r3", fake_fail="invalid_input", max_attempts=5)])
        record = self.house.wait_state("r3", "failed")
        self.assertEqual((record["attempt"], record["error_code"]), ("1", "invalid_input"))

    def test_queued_job_is_cancelled_at_once(self):
        self.house.produce([flow.create("c1", not_before="2999-01-01T00:00:00Z")])
        self.house.wait_state("c1", "queued")
        self.house.cancel("c1", "no longer wanted")
        self.house.wait_state("c1", "cancelled")
        self.assertEqual(self.house.history("c1"), ["queued", "cancelled"])
        self.assertEqual(self.house.job_events("c1")[1].value["reason"], "no longer wanted")

    def test_running_job_is_cancelled_when_it_has_stopped_and_its_worker_stays(self):
        self.house.produce([flow.create("c2", fake_latency_ms=60000)])
        _, pid = self.wait_running("c2")
        self.house.cancel("c2")
        self.house.wait_state("c2", "cancelled", 5)
        self.assertTrue(flow.alive(pid))
        self.assertEqual(self.house.history("c2"), ["queued", "running", "cancelled"])

    def test_create_after_its_cancel_is_cancelled_without_ever_being_queued(self):
        self.house.cancel("c3", "came first")
        pt.wait_for(lambda: pt.redis_cli(redis, "ZSCORE", f"{self.house.prefix}tombstones", "c3"), 10, "the tombstone")
        self.house.produce([flow.create("c3")])
        self.house.wait_state("c3", "cancelled")
        self.assertEqual(self.house.history("c3"), ["cancelled"])

    def test_cancel_of_an_ended_job_is_rejected_as_too_late(self):
        self.house.produce([flow.create("c4")])
        record = self.house.wait_state("c4", "completed")
        self.house.cancel("c4")
        (rejected,) = self.house.rejected(1)
        self.assertEqual((rejected.job_id, rejected.value["reason"]), ("c4", "too_late"))
        self.assertEqual(rejected.value["source"]["topic"], self.house.control)
        self.assertEqual(self.house.record("c4"), record)
        (dead,) = pt.kcat_consume(kafka, self.house.dlq, 1)
        self.assertEqual(dict(dead["headers"])["penstock_error_code"], "too_late")

    def block(self, job_id):
        """Gives the worker a job of the model solo that runs until unblock()."""
        self.house.produce([flow.create(job_id, model="solo", fake_latency_ms=600000)])
        # Should the test fail: the next ones need the worker.
        self.addCleanup(lambda: self.house.state(job_id) == "running" and self.house.cancel(job_id))
        self.wait_running(job_id)

    def unblock(self, job_id):
        self.house.cancel(job_id)
        self.house.wait_state(job_id, "cancelled")

    def test_not_before_is_waited_for(self):
        at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1.5)
        at_ms = int(at.timestamp() * 1000)
        text = datetime.datetime.fromtimestamp(at_ms / 1000, datetime.timezone.utc).isoformat(timespec="milliseconds")
        self.house.produce([flow.create("n1", not_before=text)])
        self.assertEqual(self.house.wait_state("n1", "queued", 1)["not_before"], str(at_ms))
        record = self.house.wait_state("n1", "completed")
        self.assertGreaterEqual(int(record["started_at"]), at_ms)
        self.assertLess(int(record["started_at"]), at_ms + SLACK_MS)

    def test_urgent_jobs_run_first_and_equals_in_the_order_of_their_arrival(self):
        self.block("blocker")
        priorities = [3, 9, 0, 5, 5, 1, 9, 5]
        for n, priority in enumerate(priorities):  # one by one: the partitions of one batch have no order among each other
            self.house.produce([flow.create(f"p{n}", model="solo", priority=priority)])
            self.house.wait_state(f"p{n}", "queued")
        self.unblock("blocker")
        for n in range(len(priorities)):
            self.house.wait_state(f"p{n}", "completed")
        tokens = {n: int(self.house.record(f"p{n}")["token"].split("-")[1]) for n in range(len(priorities))}
        ran = sorted(tokens, key=tokens.get)
        self.assertEqual(ran, sorted(range(len(priorities)), key=lambda n: (-priorities[n], n)))

    def test_queue_timeout_fails_a_job_that_nobody_took(self):
        self.block("blocker-2")
        self.house.produce([flow.create("q1", model="solo", queue_timeout_ms=200)])
        self.assertEqual(self.house.wait_state("q1", "failed")["error_code"], "queue_timeout")
        self.assertEqual(self.house.history("q1")[-2:], ["queued", "failed"])
        self.unblock("blocker-2")

    def test_job_claimed_ahead_behind_a_long_run_is_given_back_uncharged(self):
        for n in range(20):  # quick ones, so that the worker claims ahead
            self.house.produce([flow.create(f"quick-{n}", model="solo")])
            self.house.wait_state(f"quick-{n}", "completed")
        self.block("long")
        self.house.produce([flow.create("behind", model="solo")])
        self.wait_running("behind")
        self.house.wait_state("behind", "queued")
        self.unblock("long")
        record = self.house.wait_state("behind", "completed")
        self.assertEqual((record["attempt"], record["crashes"]), ("1", "0"))
        self.assertEqual(self.house.history("behind"), REQUEUED)
        self.assertEqual(self.house.job_events("behind")[2].value["reason"], "release")

    def test_zz_all_of_it_is_in_the_event_log(self):
        self.house.verify()


if __name__ == "__main__":
    pt.main()
