"""bench_batching: what dynamic batching gives, jobs a second through a real Kafka and a real Redis, for max_batch_size 1, 8, 32.

    PENSTOCK_BUILD_DIR=build/release PYTHONPATH=tests/lib:tests/integration /usr/bin/python3 tests/bench/bench_batching.py [JOBS] [ROUNDS]

One worker, onnx-cpu, the model digits with its sample images, JSON tensors in and out. The jobs are queued while the model
is paused; the clock runs from `resume` until the last record says completed, so that what is measured is claiming, decoding,
running, encoding and finishing, in batches of at most that size. The sizes take turns in every round.
"""
import json
import shutil
import statistics
import sys
import time

import flow
import penstock_test as pt

JOBS = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 3
SIZES = (1, 8, 32)
DIGITS = pt.SOURCE_DIR / "models/digits"


def house_of(kafka, redis, size):
    repository = pt.temp_dir("models")
    shutil.copytree(DIGITS / "1", repository / "digits/1")
    (repository / "digits/config.json").write_text(json.dumps({"name": "digits", "max_batch_size": size}))
    house = flow.House(kafka, redis, f"batch-{size}", models={"repository": repository}, worker={"count": 1})
    house.serve()
    return house


def run_round(house, number, samples):
    house.cli("pause", "digits", "--wait")
    before = house.count("completed")
    house.produce([{"type": "create", "job_id": f"r{number}-{n}", **samples[n % len(samples)]} for n in range(JOBS)])
    house.wait_count("queued", JOBS, 120)
    start = time.monotonic()
    house.cli("resume", "digits")
    pt.wait_for(lambda: house.count("completed") >= before + JOBS, 300, "all have completed")
    return JOBS / (time.monotonic() - start)


def main():
    kafka, redis = pt.shared_kafka(), pt.Redis()
    samples = [json.loads((DIGITS / f"samples/{n:02}.json").read_text()) for n in range(1, 21)]
    houses = {size: house_of(kafka, redis, size) for size in SIZES}
    rates = {size: [] for size in SIZES}
    for number in range(ROUNDS):
        for size, house in houses.items():
            rates[size].append(run_round(house, number, samples))
    for size, found in rates.items():
        median = statistics.median(found)
        print(f"max_batch_size {size:2}: {median:7,.0f} jobs/s ({min(found):,.0f} to {max(found):,.0f}), "
              f"{median / statistics.median(rates[1]):.2f} times that of 1")
    for house in houses.values():
        house.verify("--ended")
        house.stop()


main()
