"""A full disk: outputs that find no room fail their run for the time being, a Redis that cannot write its append file is waited
for; nothing is lost, and all goes on when there is room again. The disk is a small tmpfs; mounting one may not be permitted."""
import os
import subprocess
import unittest

import flow
import penstock_test as pt

DISK_BYTES = 2 << 20
OUTPUT_BYTES = 200_000


def small_disk(case):
    place = pt.temp_dir("disk")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", place], capture_output=True)
    if done.returncode != 0:
        raise pt.Missing(f"a small file system cannot be mounted here: {done.stderr.decode().strip()}")
    case.addCleanup(subprocess.run, ["umount", "--lazy", place], check=True)
    return place


def fill(place):
    """Takes all the room that is left; returns the file to delete."""
    ballast = place / "ballast"
    with open(ballast, "wb", buffering=0) as out:
        try:
            while True:
                out.write(os.urandom(4096))
        except OSError:
            return ballast


class FullDisk(unittest.TestCase):
    def test_output_that_finds_no_room_fails_its_run_until_there_is_some(self):
        root = small_disk(self)
        house = flow.House(pt.shared_kafka(), pt.Redis(), "disk", worker={"count": 1}, artifacts={"root": root})
        self.addCleanup(house.stop)
        house.serve()
        ballast = fill(root)
        house.produce([flow.create("gives-up", max_attempts=1, fake_output_bytes=OUTPUT_BYTES),
                       flow.create("waits", max_attempts=100, backoff_ms=100, backoff_max_ms=200, fake_output_bytes=OUTPUT_BYTES)])
        house.wait_state("gives-up", "failed")
        error = house.job_events("gives-up")[-1].value["error"]
        self.assertEqual((error["code"], error["retryable"]), ("execution_failed", True))
        self.assertIn("No space left on device", error["message"])
        pt.wait_for(lambda: int(house.record("waits").get("attempt", 0)) > 1, 30, "it is tried again")
        ballast.unlink()
        token = house.wait_state("waits", "completed")["token"]
        self.assertEqual([str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()], [f"waits/{token}/bytes"])
        house.verify("--ended")

    def test_redis_that_cannot_write_is_waited_for(self):
        disk = small_disk(self)
        redis = pt.Redis("--dir", str(disk))
        house = flow.House(pt.shared_kafka(), redis, "append", worker={"count": 1})
        self.addCleanup(house.stop)
        serve = house.serve()
        house.produce([flow.create(f"before{n}", fake_latency_ms=5) for n in range(200)])
        house.wait_count("completed", 20)
        ballast = fill(disk)
        serve.wait_log("MISCONF")
        house.produce([flow.create(f"after{n}") for n in range(50)])
        self.assertLess(house.count("completed"), 250)
        ballast.unlink()
        house.wait_count("completed", 250)
        self.assertTrue(serve.alive(), serve.log())
        house.verify("--ended")


if __name__ == "__main__":
    pt.main()
