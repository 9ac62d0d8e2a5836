"""bench_http: how fast the HTTP server answers, and whether it grows, while many listen and jobs run.

    PENSTOCK_BUILD_DIR=build/release PYTHONPATH=tests/lib:tests/integration /usr/bin/python3 tests/bench/bench_http.py [SECONDS] [STREAMS] [GETS] [JOBS]

STREAMS readers of /events (default 200), GETS requests a second (2,000) beside JOBS jobs a second (500) for SECONDS (60), on a
real Kafka and Redis, with one worker; bench_http.c makes the load, on the same machine. Printed: its figures, the control process's
memory at the start and every few seconds, the processor time of each process, and the load average of the machine before.
"""
import json
import os
import subprocess
import sys
import time

import http_client
import penstock_test as pt

SECONDS, STREAMS, GETS, JOBS = (int(sys.argv[i]) if len(sys.argv) > i else default for i, default in ((1, 60), (2, 200), (3, 2000), (4, 500)))
SAMPLES = 12


def rss_mb(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))


def cpu_s(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    load = os.getloadavg()[0]
    kafka, redis = pt.shared_kafka(), pt.Redis()
    house = http_client.HttpHouse(kafka, redis, "bench", worker={"count": 1}, http={"max_connections_per_ip": 1000})
    control = house.serve()
    api = house.api()
    pt.wait_for(lambda: api("GET", "/v2/health/ready").status == 200, 60, "the house is ready")
    pids = {"control": control.process.pid, "redis": redis.process.pid}
    pids["kafka"] = int((kafka.dir / "kafka.pid").read_text())
    before, memory = {name: cpu_s(pid) for name, pid in pids.items()}, [rss_mb(pids["control"])]
    client = subprocess.Popen([pt.BUILD_DIR / "tests/bench/bench_http", f"127.0.0.1:{house.port}", kafka.bootstrap, house.commands,
                               str(SECONDS), str(STREAMS), str(GETS), str(JOBS)], stdout=subprocess.PIPE, text=True)
    while client.poll() is None:
        time.sleep(SECONDS / SAMPLES)
        memory.append(rss_mb(pids["control"]))
    told = json.loads(client.stdout.read())
    print(f"load average before: {load:.1f}")
    print(json.dumps(told))
    print("memory of the control process, MB:", " ".join(f"{mb:.0f}" for mb in memory))
    print("processor time, cores:", ", ".join(f"{name} {(cpu_s(pid) - before[name]) / SECONDS:.2f}" for name, pid in pids.items()))
    print(f"completed {house.count('completed')} of {told['jobs']}")
    house.stop()


main()
