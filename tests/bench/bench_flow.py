"""bench_flow: jobs a second through the whole house, on a real Kafka and a real Redis, with the store's own limit beside it.

    PENSTOCK_BUILD_DIR=build/release PYTHONPATH=tests/lib /usr/bin/python3 tests/bench/bench_flow.py [JOBS] [ROUNDS]

Each round sends JOBS no-op jobs (default 50,000) with one client and stops the clock when the client has seen the last one
completed; `penstock verify` must then agree. The limit, from bench_store in the same run, is what Redis alone could do if
nothing else took time: the scripts of a job's whole life. A latency is the wall time of `penstock submit --wait` for one job
on an idle house, the start of that process included.
"""
import re
import statistics
import subprocess
import sys
import time

import penstock_test as pt

JOBS = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 3
LATENCIES = 100


def store_limit():
    out = subprocess.run([pt.BUILD_DIR / "tests/bench/bench_store"], check=True, capture_output=True, text=True).stdout
    return 1e6 / float(re.search(r"whole life\s+([\d.]+)", out).group(1))


def submit(control, *args):
    start = time.monotonic()
    subprocess.run([pt.BUILD_DIR / "penstock", "submit", "-q", "--wait", "-c", control.config_path, "--model", "echo", *args], check=True,
                   stdout=subprocess.DEVNULL)
    return time.monotonic() - start


def main():
    kafka, redis = pt.shared_kafka(), pt.Redis()
    control = pt.Penstock("serve", {"kafka": {"bootstrap.servers": kafka.bootstrap}, "store": {"url": redis.url},
                                    "models": {"repository": str(pt.SOURCE_DIR / "tests/models")}, "worker": {"count": "2"}})
    control.wait_log("assigned")
    submit(control)  # topics, producer ids, first loads
    rates = []
    limit = store_limit()
    for _ in range(ROUNDS):
        rates.append(JOBS / submit(control, "--count", str(JOBS)))
        print(f"round: {rates[-1]:,.0f} jobs/s")
    subprocess.run([pt.BUILD_DIR / "penstock", "verify", "-c", control.config_path], check=True)
    latencies = sorted(submit(control) * 1000 for _ in range(LATENCIES))
    rate = statistics.median(rates)
    print(f"throughput: median {rate:,.0f} jobs/s of {ROUNDS} rounds of {JOBS:,} jobs, two workers")
    print(f"limit of the store's scripts alone, same run: {limit:,.0f} jobs/s; ratio {rate / limit:.2f}")
    print(f"submit --wait of one job: p50 {latencies[LATENCIES // 2]:.1f} ms, p99 {latencies[LATENCIES * 99 // 100]:.1f} ms")


main()
