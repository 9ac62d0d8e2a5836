"""`penstock verify`: a sound installation passes; each doctored record, event or refusal is found, and told by its check's name.

The doctored logs are copies of the events topic with one thing changed; the installation itself stays as it is.
"""
import json
import unittest

import flow
import penstock_test as pt

CHECKS = ("sequence", "transition", "repeat", "token", "attempt", "record", "cancel", "command", "unended")


def setUpModule():
    global house, log
    kafka = pt.Kafka("auto.create.topics.enable=true")  # the doctored logs stand in topics of their own
    house = flow.House(kafka, pt.Redis(), "verify", worker={"count": 1})
    unittest.addModuleCleanup(house.stop)
    house.serve()
    house.produce([flow.create("good"), flow.create("bad", fake_fail="invalid_input"), flow.create("waits", priority=1,
                   not_before="2099-01-01T00:00:00Z"), flow.create("retried", fake_fail_attempts=1, max_attempts=2, backoff_ms=1),
                   flow.create("twin"), flow.create("twin"), flow.create("twin", priority=9), {"type": "nonsense"}])
    for job_id in ("good", "retried", "twin"):
        house.wait_state(job_id, "completed")
    house.wait_state("bad", "failed")
    house.cancel("bad")  # too late
    house.rejected(3)
    for job_id in ("good", "bad", "retried", "twin"):
        house.job_events(job_id)
    log = [(event.raw["key"], event.value) for event in house.events()]


def verify(*args):
    """Exit code, {check: violations} without the zeros, and what was told."""
    done = house.cli("verify", "--json", "--wait", "0", *args, check=False)
    outcome = json.loads(done.stdout)
    assert tuple(outcome["checks"]) == CHECKS and sum(outcome["checks"].values()) == outcome["violations"], outcome
    assert outcome["ok"] == (done.returncode == 0), done
    told = [line for line in done.stderr.splitlines() if line.split(":")[0] in CHECKS]
    assert len(told) == min(outcome["violations"], 20), done.stderr
    return done.returncode, {check: count for check, count in outcome["checks"].items() if count}, "\n".join(told)


def find(job_id, seq):
    return next(i for i, (_, value) in enumerate(log) if value.get("job_id") == job_id and value.get("seq") == seq)


def refusal(reason):
    return next(i for i, (_, value) in enumerate(log) if value["to"] == "rejected" and value["reason"] == reason)


class Verify(unittest.TestCase):
    def check_log(self, doctor, check, words):
        """What is found in a log that doctor(list of (key, value)) has changed."""
        self.logs = getattr(self, "logs", 0) + 1
        topic = f"{self.id().rsplit('.', 1)[1]}.{self.logs}"
        doctored = json.loads(json.dumps(log))
        doctor(doctored)
        pt.kcat_produce(house.kafka, topic, [{"key": key, "value": json.dumps(value)} for key, value in doctored])
        code, found, told = verify("-s", f"bus.events_topic={topic}")
        self.assertEqual(code, 1)
        self.assertIn(check, found, told)
        self.assertRegex(told, rf"(?m)^{check}: .*{words}")
        return found

    # --- sound ---

    def test_sound_installation_passes_and_says_so(self):
        self.assertEqual(verify(), (0, {}, ""))
        done = house.cli("verify")
        self.assertRegex(done.stdout, r"^verified: 5 jobs, \d+ events \(0 of them repeated\), .* 0 violations\n$")

    def test_repeated_events_are_counted_and_no_violation(self):
        pt.kcat_produce(house.kafka, "verify.repeats", [{"key": key, "value": json.dumps(value)} for key, value in log + log])
        done = house.cli("verify", "--json", "-s", "bus.events_topic=verify.repeats")
        self.assertEqual(json.loads(done.stdout)["repeated"], len(log))

    def test_job_that_waits_is_a_violation_only_if_all_should_have_ended(self):
        code, found, told = verify("--ended")
        self.assertEqual((code, found), (1, {"unended": 1}))
        self.assertEqual(told, "unended: job waits: has not ended")

    # --- records ---

    def doctor_record(self, *command):
        """Changes keys of Redis by one command, verifies, and puts them back."""
        key = f"{house.prefix}job:good"
        pt.redis_cli(house.redis, "COPY", key, "kept", "REPLACE")
        self.addCleanup(pt.redis_cli, house.redis, "COPY", "kept", key, "REPLACE")
        pt.redis_cli(house.redis, command[0], key, *command[1:])
        return verify()

    def test_doctored_record_is_found_by_the_member_that_differs(self):
        for member, value in (("state", "failed"), ("attempt", "2"), ("worker", "nobody"), ("finished_at", "1")):
            code, found, told = self.doctor_record("HSET", member, value)
            self.assertEqual((code, found), (1, {"record": 1}), member)
            self.assertRegex(told, rf"^record: job good: record and events differ in {member} \(record: ")
            self.doCleanups()

    def test_deleted_record_is_found(self):
        code, found, told = self.doctor_record("DEL")
        self.assertEqual((code, found), (1, {"record": 1}))
        self.assertEqual(told, "record: job good: has events but no record")

    def test_document_that_is_not_its_last_event_s_is_found(self):
        for job_id, what, other in (("good", "result", '{"outputs":[]}'), ("bad", "error", "{}")):
            key = f"{house.prefix}{what}:{job_id}"
            document = pt.redis_cli(house.redis, "GET", key).rstrip("\n")
            self.addCleanup(pt.redis_cli, house.redis, "SET", key, document)
            pt.redis_cli(house.redis, "SET", key, other)
            self.assertEqual(verify(), (1, {"record": 1}, f"record: job {job_id}: its {what} document is not what its last "
                                                          "event says"))
            pt.redis_cli(house.redis, "DEL", key)
            self.assertEqual(verify(), (1, {"record": 1}, f"record: job {job_id}: its {what} document is not there"))
            self.doCleanups()
            self.assertEqual(verify(), (0, {}, ""))

    def test_text_outcome_counts_by_check(self):
        key = f"{house.prefix}job:good"
        pt.redis_cli(house.redis, "COPY", key, "kept", "REPLACE")
        self.addCleanup(pt.redis_cli, house.redis, "COPY", "kept", key, "REPLACE")
        pt.redis_cli(house.redis, "HSET", key, "seq", "7")
        done = house.cli("verify", "--wait", "300", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stdout, r"^NOT verified: .* 1 violations \(record 1\)\n$")
        self.assertEqual(done.stderr.count("job good"), 1, "told again by each look")

    # --- events ---

    def test_missing_event_is_a_gap(self):
        found = self.check_log(lambda events: events.pop(find("good", 2)), "sequence",
                               r"job good: seq 3 \(completed\) follows seq 1")
        self.assertEqual(found, {"sequence": 1})

    def test_missing_last_event_shows_in_the_record(self):
        found = self.check_log(lambda events: events.pop(find("good", 3)), "record", "job good: record and events differ in state")
        self.assertEqual(found, {"record": 1})

    def test_job_without_any_event_is_missed_by_its_command_and_its_record(self):
        def forget(events):
            events[:] = [event for event in events if event[1].get("job_id") != "good"]
        found = self.check_log(forget, "command", "job good: its create was taken, but it has no events")
        self.assertEqual(found, {"command": 1, "record": 1})

    def test_event_behind_the_end_is_no_transition(self):
        def go_on(events):
            key, last = events[find("good", 3)]
            events.append([key, {**last, "seq": 4, "from": "completed", "to": "failed", "reason": "timeout"}])
        self.check_log(go_on, "transition", "job good: seq 4: completed -> failed while the job was completed")

    def test_repeat_with_other_contents_is_found(self):
        def repeat(events):
            key, event = events[find("good", 2)]
            events.append([key, {**event, "worker": "another"}])
        found = self.check_log(repeat, "repeat", r"job good: seq 2 \(running\) again, and with other contents")
        self.assertEqual(found, {"repeat": 1})

    def test_run_that_another_ends_or_whose_token_is_old_is_found(self):
        self.check_log(lambda events: events[find("good", 3)][1].update(worker="another"), "token",
                       "job good: seq 3 .*another worker")
        first = log[find("retried", 2)][1]["token"]

        def use_again(events):
            for seq in (4, 5):
                events[find("retried", seq)][1]["token"] = first
        self.check_log(use_again, "token", r"job retried: seq 4 \(running\): a run whose token is not newer")

    def test_attempts_that_go_back_or_too_far_are_found(self):
        self.check_log(lambda events: events[find("retried", 4)][1].update(attempt=1), "attempt", r"job retried: seq 4 \(running\)")
        self.check_log(lambda events: events[find("retried", 3)][1].update(attempt=3), "attempt", r"job retried: seq 3 \(queued\)")

    # --- commands ---

    def test_missing_refusals_are_found(self):
        self.check_log(lambda events: events.pop(refusal("job_conflict")), "command",
                       "job twin: another create of it, .*was not refused")
        self.check_log(lambda events: events.pop(refusal("too_late")), "cancel",
                       "job bad: has failed, but a cancel of it was taken")
        others = [i for i, (_, value) in enumerate(log) if value["to"] == "rejected"
                  and value["reason"] not in ("job_conflict", "too_late")]
        self.assertEqual(len(others), 1)
        self.check_log(lambda events: events.pop(others[0]), "command", r"job \?: a command that cannot be read was taken")

    def test_job_that_names_no_command_is_found(self):
        self.check_log(lambda events: events[find("good", 1)][1]["source"].update(offset=1), "command",
                       r"job good: no create stands at .*\]@1, which it names")


if __name__ == "__main__":
    pt.main()
