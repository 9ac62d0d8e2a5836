"""plan: what the fault run sends, and what must become of it.

A plan is drawn from a seed: jobs of the kinds below, spread over the run, each with the commands that belong to it. What a job
does is scripted in its parameters (src/executor/fake.c), so how it must end is known beforehand, whatever happens to the
processes on the way: a job loses no attempt when its worker dies, and `jobs.max_crashes` is set out of reach.

    plan = Plan(seed=1, jobs=20000, seconds=60)
    for send in plan.sends: ...   # in order of send.at, seconds from the start
    plan.jobs[job_id].kind
"""
import datetime
import json
import random
import time

KINDS = {  # and how many in a thousand
    "plain": 640,      # completes
    "long": 12,        # completes; runs longer than the shortest lease
    "fails": 60,       # fails for good, at once
    "retries": 60,     # fails once or twice, then completes
    "exhausts": 30,    # fails until its attempts are used up
    "times_out": 10,   # runs longer than it may
    "delayed": 50,     # completes, not before its time
    "unborn": 40,      # its cancel stands before its create, in the same partition: cancelled, never run
    "crossed": 20,     # its cancel comes about when its create comes, in another topic
    "late": 40,        # its cancel comes while it waits, runs or has ended
    "stubborn": 20,    # can never complete, and is cancelled
    "twice": 10,       # its create is sent again
    "conflict": 5,     # its id is used for another job
    "garbage": 3,      # no command at all
}
MAX_ATTEMPTS = 3
STUBBORN_ATTEMPTS = 100
LONGEST_S = 3.0  # that a job's commands lie apart


class Job:
    """One id of the plan."""

    def __init__(self, number, kind):
        self.number, self.kind, self.job_id = number, kind, f"{kind}-{number:05d}"
        self.latency_ms = 0
        self.attempts = 1         # that its runs use up when nobody cancels it
        self.not_before_ms = 0    # known once it is sent
        self.sum = number + 0.5   # of its inputs; the executor returns it


class Send:
    """One message, and when it goes out."""

    def __init__(self, at, topic, job, command, delay_s=None):
        self.at, self.topic, self.job, self.command, self.delay_s = at, topic, job, command, delay_s

    def text(self):
        """The bytes. A delay becomes a time of day only now: the run may have started late."""
        if self.delay_s is not None:
            at = time.time() + self.delay_s
            self.job.not_before_ms = int(at * 1000)
            stamp = datetime.datetime.fromtimestamp(self.job.not_before_ms / 1000, datetime.timezone.utc)
            self.command["not_before"] = stamp.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return self.command if isinstance(self.command, str) else json.dumps(self.command)


class Plan:
    def __init__(self, seed, jobs, seconds, weights=None):
        self.rng = random.Random(seed)
        weights = weights or KINDS
        kinds = self.rng.choices(list(weights), list(weights.values()), k=jobs)
        self.sends, self.jobs = [], {}
        for number, kind in enumerate(kinds):
            job = Job(number, kind)
            self.jobs[job.job_id] = job
            getattr(self, "_" + kind, self._any)(job, self.rng.uniform(0, seconds))
        self.sends.sort(key=lambda send: send.at)

    def created(self):
        """The jobs that come to exist."""
        return [job for job in self.jobs.values() if job.kind != "garbage"]

    # --- kinds ---

    def _create(self, job, at, latency_ms=None, delay_s=None, **members):
        rng = self.rng
        params = {name: members.pop(name) for name in list(members) if name.startswith("fake_")}
        job.latency_ms = rng.choice((0, 0, 1, 2, 5, 20)) if latency_ms is None else latency_ms
        if job.latency_ms:
            params["fake_latency_ms"] = job.latency_ms
        command = {"type": "create", "job_id": job.job_id, "model": "slow" if job.latency_ms > 50 else "quick",
                   "max_attempts": MAX_ATTEMPTS, "priority": rng.randint(0, 9), "parameters": params,
                   "inputs": [{"name": "x", "shape": [2], "datatype": "FP64", "data": [job.number, 0.5]}], **members}
        self.sends.append(Send(at, "commands", job, command, delay_s))
        return command

    def _cancel(self, job, at, topic="control"):
        self.sends.append(Send(max(at, 0), topic, job, {"type": "cancel", "job_id": job.job_id, "reason": "planned"}))

    def _any(self, job, at):
        self._create(job, at)

    def _long(self, job, at):
        self._create(job, at, latency_ms=self.rng.randint(1200, 2200))

    def _fails(self, job, at):
        self._create(job, at, fake_fail="invalid_input")

    def _retries(self, job, at):
        job.attempts = self.rng.randint(2, MAX_ATTEMPTS)
        self._create(job, at, fake_fail_attempts=job.attempts - 1)

    def _exhausts(self, job, at):
        job.attempts = 2
        self._create(job, at, fake_fail="execution_failed", max_attempts=job.attempts)

    def _times_out(self, job, at):
        self._create(job, at, latency_ms=20000, timeout_ms=30)

    def _delayed(self, job, at):
        self._create(job, at, delay_s=self.rng.uniform(0.2, LONGEST_S))

    def _unborn(self, job, at):
        self._cancel(job, at - 0.01, "commands")
        self._create(job, at)

    def _crossed(self, job, at):
        self._cancel(job, at + self.rng.uniform(-0.2, 0.02))
        self._create(job, at)

    def _late(self, job, at):
        self._create(job, at, latency_ms=self.rng.choice((0, 10, 40, 40, 300)))
        self._cancel(job, at + self.rng.uniform(0, 0.5))

    def _stubborn(self, job, at):
        job.attempts = STUBBORN_ATTEMPTS
        self._create(job, at, latency_ms=self.rng.choice((30, 40, 100)), fake_fail="execution_failed",
                     max_attempts=STUBBORN_ATTEMPTS)
        self._cancel(job, at + self.rng.uniform(0.1, 1))

    def _twice(self, job, at):
        command = self._create(job, at)
        self.sends.append(Send(at + self.rng.uniform(0.001, LONGEST_S), "commands", job, dict(command)))

    def _conflict(self, job, at):
        command = self._create(job, at)
        other = {**command, "priority": (command["priority"] + 1) % 10}
        self.sends.append(Send(at + self.rng.uniform(0.001, LONGEST_S), "commands", job, other))

    def _garbage(self, job, at):
        self.sends.append(Send(at, "commands", job, '{"type": "create", "job_id": '))
