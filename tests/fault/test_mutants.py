"""Each mistake of mutants.py must be found by a short fault run, and the sound binary must pass the same runs."""
import json
import os
import re
import subprocess
import sys
import unittest

import fault
import flow
import penstock_test as pt
from mutants import MUTANTS

AT_ONCE = 4  # runs mostly wait
ROUNDS = 3   # a mistake that shows only when two things meet (a worker that stood still, a job that runs again) may need another run
MUTANTS_DIR = pt.BUILD_DIR / "tests/fault"


class Child:
    """One run in a process of its own, with a binary of its own, on the servers of all."""

    def __init__(self, kafka, redis, name, profile, build_dir, seed):
        self.name, self.log = name, pt.temp_dir("mutant") / "run.log"
        argv = [sys.executable, fault.HERE / "fault.py", "--kafka", kafka.bootstrap, "--redis", redis.port, "--name", f"{name}-{seed}",
                "--profile", profile, "--seed", seed, "--judge", pt.penstock_path(), "--no-evidence"]
        self.out = open(self.log.with_name("verdict.json"), "w+")
        with open(self.log, "w") as log:
            self.popen = subprocess.Popen([str(part) for part in argv], stdin=subprocess.DEVNULL, stdout=self.out, stderr=log,
                                          env={**os.environ, "PENSTOCK_BUILD_DIR": str(build_dir)})

    def verdict(self):
        """What the run found wrong; a run that failed to run at all is no verdict."""
        code = self.popen.returncode
        assert code in (0, 1), f"{self.name}: the run ended with {code}:\n{self.log.read_text()[-3000:]}"
        self.out.seek(0)
        wrong = json.load(self.out)
        flow.say(f"{self.name}: {len(wrong)} complaints; {self.log.read_text().splitlines()[-1][:160]}")
        kinds = {}  # verify's check, or what check.py says about the job; and the first of each
        for line in wrong:
            kind = line.split(": ")[1] if ": " in line else line
            kinds.setdefault(re.sub(r"\d+", "N", kind), line)
        for line in list(kinds.values())[:8]:
            flow.say(f"    {line[:240]}")
        assert (code == 1) == bool(wrong), f"{self.name}: exit code {code}, but {wrong}"
        return wrong


def run_all(kafka, redis, runs, seed):
    """{name: verdict} of [(name, profile, build_dir)], some at a time."""
    waiting, running, verdicts = list(runs), [], {}
    try:
        while waiting or running:
            while waiting and len(running) < AT_ONCE:
                running.append(Child(kafka, redis, *waiting.pop(0), seed))
            pt.wait_for(lambda: any(child.popen.poll() is not None for child in running), 180, "one of the runs ends")
            for child in [child for child in running if child.popen.poll() is not None]:
                running.remove(child)
                verdicts[child.name] = child.verdict()
    finally:
        for child in running:
            child.popen.terminate()
    return verdicts


class Mutants(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka, cls.redis = pt.shared_kafka(), pt.Redis()

    def test_each_mistake_is_found_and_the_sound_binary_passes_the_same_runs(self):
        missing, wrong = list(MUTANTS), {}
        for seed in range(1, ROUNDS + 1):
            profiles = sorted({mutant.profile for mutant in missing}, reverse=True)
            runs = [(f"sound-{profile}", profile, pt.BUILD_DIR) for profile in profiles]
            runs += [(mutant.name, mutant.profile, MUTANTS_DIR / mutant.name) for mutant in missing]
            verdicts = run_all(self.kafka, self.redis, runs, seed)
            for profile in profiles:
                self.assertEqual(verdicts[f"sound-{profile}"], [], f"the sound binary in profile {profile}, seed {seed}")
            wrong.update(verdicts)
            missing = [mutant for mutant in missing if not any(mutant.found in line for line in verdicts[mutant.name])]
            if not missing:
                break
        for mutant in missing:
            with self.subTest(mutant=mutant.name):
                self.fail(f"not found as {mutant.found!r} in {ROUNDS} runs; the last: {wrong[mutant.name][:5]}")

    def test_every_mutant_is_told_of_in_the_documents(self):
        told = (pt.SOURCE_DIR / "docs/reliability.md").read_text()
        self.assertEqual([mutant.name for mutant in MUTANTS if f"`{mutant.name}`" not in told], [])


if __name__ == "__main__":
    pt.main()
