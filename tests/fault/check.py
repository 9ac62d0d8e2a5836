"""check: what became of a plan, against what must have become of it.

`penstock verify` proves that the log is whole and that the records are what it says; it knows nothing of what the jobs were
meant to do. This does: it reads the events once more, as an outside client, and holds every job against its kind.
"""
import flow

CLOCK_MS = 3  # two clocks (the worker's sleep, Redis' TIME), each cut to whole milliseconds
LEASE_SLACK_MS = 200  # a worker counts its lease from before it asked for it ...
ASKING_MS = 500  # ... and so one that stood still while it asked gives back at once what it then gets


def first_events(house):
    """{job_id: [event, ...]} without repeats, and the rejected events, each (topic, partition, offset) once."""
    jobs, rejected = {}, {}
    for event in house.events():
        if event.to == "rejected":
            source = event.value["source"]
            rejected.setdefault((source["topic"], source["partition"], source["offset"]), event)
        else:
            jobs.setdefault(event.job_id, {}).setdefault(event.seq, event)
    return {job_id: [events[seq] for seq in sorted(events)] for job_id, events in jobs.items()}, list(rejected.values())


class Fate:
    """One job's history, and what is said against it."""

    def __init__(self, job, events, refusals, stood_still):
        self.stood_still = stood_still
        self.job, self.events, self.refusals, self.wrong = job, events, refusals, []
        self.last = events[-1].value if events else {}
        self.runs = [event for event in events if event.to == "running"]

    def expect(self, cond, what):
        if not cond:
            self.wrong.append(f"{self.job.job_id}: {what}: "
                              + " ".join(f"{event.to}({event.value.get('reason')})" for event in self.events[-8:])
                              + (f" refused: {self.refusals}" if self.refusals else ""))

    def ends(self, *states):
        self.expect(self.last.get("to") in states, f"must end as {' or '.join(states)}")

    def fails_with(self, code):
        self.ends("failed")
        self.expect(self.last.get("reason") == code, f"must fail as {code}")

    def attempts_used(self, count):
        self.expect(self.last.get("attempt") == count, f"must have used {count} attempts, not {self.last.get('attempt')}")

    # --- any kind ---

    def asked_long_before(self, claim):
        """Did the worker stand still until about when the store heard its claim? Its id ends in pid and start time."""
        pid, at = int(claim.value["worker"].rsplit("-", 2)[1]), claim.value["at"]
        return any(began <= at and at - ASKING_MS <= ended for began, ended in self.stood_still.get(pid, []))

    def check_runs(self, lease_ms):
        """A run of a job takes as long as the job takes, and what it returns is this job's. One that is given back, by a worker
        that claims nothing ahead, was stopped because its lease was over; it could not be earlier."""
        for before, event in zip(self.events, self.events[1:]):
            took = event.value["at"] - before.value["at"]
            if lease_ms and event.value["reason"] == "release" and not self.asked_long_before(before):
                self.expect(took >= lease_ms - LEASE_SLACK_MS, f"seq {event.seq} gives a run back after {took} ms")
            by_executor = event.to == "completed" or event.value["reason"] in ("retry", "execution_failed")
            if before.to == "running" and by_executor:
                self.expect(took >= self.job.latency_ms - CLOCK_MS,
                            f"seq {event.seq} ends a run after {took} ms that takes {self.job.latency_ms}")
            if event.to == "completed":
                echo = event.value["result"]["outputs"][0]["data"]
                self.expect(echo == [self.job.sum, 2], f"has another job's result: {echo}")

    # --- by kind ---

    def check_plain(self):
        self.ends("completed")
        self.attempts_used(1)

    check_long = check_twice = check_plain

    def check_conflict(self):
        self.check_plain()
        self.expect(self.refusals == ["job_conflict"], "its second create must be refused")

    def check_fails(self):
        self.fails_with("invalid_input")
        self.attempts_used(1)

    def check_retries(self):
        """The executor counts runs that a dead worker did not finish, too: what they were to fail in may be behind them."""
        self.ends("completed")
        attempt, crashes = self.last.get("attempt", 0), self.last.get("crashes", 0)
        self.expect(attempt <= self.job.attempts <= attempt + crashes, f"must use {self.job.attempts} attempts, not {attempt}")

    def check_exhausts(self):
        self.fails_with("execution_failed")
        self.attempts_used(self.job.attempts)

    def check_times_out(self):
        self.fails_with("timeout")

    def check_delayed(self):
        self.check_plain()
        self.expect(self.runs and self.runs[0].value["at"] >= self.job.not_before_ms, "ran before its time")

    def check_unborn(self):
        self.ends("cancelled")
        self.expect(len(self.events) == 1, "must be cancelled before anything else")

    def check_crossed(self):
        """Cancelled, unless its run was quicker; then the cancel is refused, or came while the result was on its way."""
        self.ends("completed", "cancelled")
        self.expect(self.last.get("to") == "completed" or not self.refusals, "cancelled, and its cancel refused")

    check_late = check_crossed

    def check_stubborn(self):
        """A cancel that was not refused must hold, whatever happened to the run in which it came."""
        if "too_late" in self.refusals:
            self.fails_with("execution_failed")
        else:
            self.ends("cancelled")


def check(house, plan, faults, lease_ms, stood_still):
    """Returns what is wrong, as lines. faults: processes were hurt; without, no job may be taken from its worker. stood_still:
    when they were stopped, by pid: [(from, to), ...], in ms."""
    jobs, rejected = first_events(house)
    ahead = house.settings["worker"].get("prefetch_below_ms")
    refusals = {}
    for event in rejected:
        refusals.setdefault(event.job_id, []).append(event.value["reason"])
    wrong = [f"{job_id}: nobody has created it" for job_id in jobs.keys() - plan.jobs.keys()]
    for job in plan.created():
        fate = Fate(job, jobs.get(job.job_id, []), refusals.get(job.job_id, []), stood_still)
        fate.check_runs(lease_ms if ahead == 0 else None)
        getattr(fate, f"check_{job.kind}")()
        if not faults:
            fate.expect(all(event.value["reason"] != "worker_lost" for event in fate.events), "was taken from a sound worker")
        wrong += fate.wrong
    garbage = len(plan.jobs) - len(plan.created())
    if len(refusals.get(None, [])) != garbage:
        wrong.append(f"{garbage} unreadable commands, but {len(refusals.get(None, []))} refused as such")
    states = {state: sum(events[-1].to == state for events in jobs.values()) for state in flow.TERMINAL}
    lost = sum(event.value["reason"] == "worker_lost" for events in jobs.values() for event in events)
    flow.say(f"{len(jobs)} jobs: {states}, {lost} times taken from a lost worker, {len(rejected)} refused commands")
    return wrong
