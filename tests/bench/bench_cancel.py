"""bench_cancel: how long a cancel of running work takes, on a real Kafka and a real Redis.

    PENSTOCK_BUILD_DIR=build/release PYTHONPATH=tests/lib:tests/integration /usr/bin/python3 tests/bench/bench_cancel.py [COOPERATIVE] [HUNG]

A job runs, alone, in the executor `fake`; then its cancel goes to the control topic. Cooperative runs look at should_stop as
the executor ABI asks of them, hung ones never return and end with their process after worker.grace_ms. The clock starts when
Kafka appends the command (LogAppendTime) and stops at the record's finished_at; both are this machine's. The flag is set when
Redis tells the worker's channel of it.
"""
import statistics
import subprocess
import sys
import threading
import time

import flow
import penstock_test as pt

COOPERATIVE = int(sys.argv[1]) if len(sys.argv) > 1 else 300
HUNG = int(sys.argv[2]) if len(sys.argv) > 2 else 30
GRACE_MS = 500


class Ear:
    """When Redis told a worker of each job's cancel, in ms since the epoch."""

    def __init__(self, house):
        self.told = {}
        self.popen = subprocess.Popen(["redis-cli", "-p", str(house.redis.port), "PSUBSCRIBE", f"{house.prefix}wake:*"],
                                      stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.popen.stdout:
            self.told.setdefault(line.strip(), time.time() * 1000)


def cancel_all(house, count, prefix, **params):
    """[(command to cancelled, flag to cancelled)] in ms."""
    ear, done = Ear(house), {}
    for n in range(count):
        job_id = f"{prefix}{n}"
        house.produce([flow.create(job_id, model="solo", **params)])
        house.wait_state(job_id, "running", 30)
        house.cancel(job_id)
        done[job_id] = int(house.wait_state(job_id, "cancelled", 30)["finished_at"])
    ear.popen.terminate()
    appended = {message["key"]: message["ts"] for message in pt.kcat_read(house.kafka, house.control)}
    return [(at - appended[job_id], at - ear.told[job_id]) for job_id, at in done.items()]


def report(what, values):
    values = sorted(values)
    print(f"{what:58} p50 {statistics.median(values):7.1f} ms  p99 {values[len(values) * 99 // 100]:7.1f} ms  "
          f"slowest {values[-1]:7.1f} ms  ({len(values)})")


def main():
    kafka, redis = pt.Kafka("log.message.timestamp.type=LogAppendTime"), pt.Redis()
    house = flow.House(kafka, redis, worker={"count": 2, "grace_ms": GRACE_MS})
    house.serve()
    cancel_all(house, 10, "warm", fake_latency_ms=600000)
    cooperative = cancel_all(house, COOPERATIVE, "c", fake_latency_ms=600000)
    hung = cancel_all(house, HUNG, "h", fake_hang=True)
    report("cooperative, from the command to cancelled", [whole for whole, _ in cooperative])
    report("cooperative, from the flag in Redis to cancelled", [flag for _, flag in cooperative])
    report(f"hung, from the command to cancelled, over {GRACE_MS} ms of grace", [whole - GRACE_MS for whole, _ in hung])
    house.stop()


main()
