"""Twenty thousand jobs of every kind, while control processes and workers are killed and stopped at random: each ends once, as
it must. PENSTOCK_TEST_FAULT_SECONDS makes the run longer (with as many more jobs), PENSTOCK_TEST_FAULT_SEED another one."""
import os
import unittest

import fault
import penstock_test as pt


class Fault(unittest.TestCase):
    def test_every_job_ends_once_as_it_must_while_processes_are_killed_and_stopped(self):
        profile = fault.PROFILES["all"]
        seconds = int(os.environ.get("PENSTOCK_TEST_FAULT_SECONDS", profile.seconds))
        jobs = max(100, profile.jobs * seconds // profile.seconds)
        seed = int(os.environ.get("PENSTOCK_TEST_FAULT_SEED", 1))
        run = fault.Run(pt.shared_kafka(), pt.Redis(), "fault", profile._replace(jobs=jobs, seconds=seconds), seed)
        wrong = run.verdict()
        self.assertEqual(wrong, [], f"{len(wrong)} complaints, seed {seed}")
        for fault_kind in ("kill control", "kill worker", "stop control", "stop worker"):
            self.assertGreater(run.faults[fault_kind], 0, "this run has hurt nobody that way")


if __name__ == "__main__":
    pt.main()
