"""A worker that no longer reaches Redis stops its work in time for another one to do it."""
import re
import signal
import socket
import threading
import time
import unittest

import flow
import penstock_test as pt

LEASE_MS = 1500


class Proxy:
    """Passes TCP on to Redis, until it is cut: then it keeps the connections and passes nothing on."""

    def __init__(self, port):
        self.target, self.cut = port, threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            server = socket.create_connection(("127.0.0.1", self.target))
            for pair in ((client, server), (server, client)):
                threading.Thread(target=self.pump, args=pair, daemon=True).start()

    def pump(self, source, sink):
        try:
            while data := source.recv(65536):
                if self.cut.is_set():
                    return
                sink.sendall(data)
        except OSError:
            pass
        if not self.cut.is_set():
            sink.close()


class CutOff(unittest.TestCase):
    def setUp(self):
        self.kafka, self.redis = pt.shared_kafka(), pt.Redis()
        self.house = flow.House(self.kafka, self.redis, self._testMethodName[5:25].replace("_", "-"),
                                worker={"lease_ms": LEASE_MS}, store={"timeout_ms": 30000})
        self.addCleanup(self.house.stop)
        self.house.serve("--no-workers")

    def worker(self, **store):
        settings = {**self.house.settings, "store": {**self.house.settings["store"], **store}}
        known = set(self.house.workers())
        worker = pt.Penstock("worker", settings)
        pt.wait_for(lambda: set(self.house.workers()) - known, 30, "the worker is there")
        return worker

    def test_run_is_stopped_by_the_time_that_another_worker_may_have_it(self):
        proxy = Proxy(self.redis.port)
        first = self.worker(url=f"redis://127.0.0.1:{proxy.port}", timeout_ms=500)
        self.house.produce([flow.create("job", model="solo", fake_latency_ms=4000, fake_steps=100)])
        self.house.wait_state("job", "running")
        token = self.house.record("job")["token"]
        second = self.worker()
        self.house.serves.append(second)
        proxy.cut.set()
        pt.wait_for(lambda: self.house.record("job").get("token") not in (token, None), 20, "the other worker has it")
        line = pt.wait_for(lambda: re.search(r"job job: stopped, since its lease is lost for (\d+) ms", first.log()), 10,
                           lambda: f"the first worker has stopped:\n{first.log()}")
        self.assertLess(int(line.group(1)), LEASE_MS / 3)
        self.house.wait_state("job", "completed")
        self.assertEqual(self.house.history("job"), ["queued", "running", "queued", "running", "completed"])
        first.kill9()
        self.house.verify("--ended")

    def test_run_that_hangs_ends_with_its_process_while_redis_stands_still(self):
        worker = self.worker()
        self.house.produce([flow.create("hung", model="solo", fake_hang=True, max_attempts=1)])
        self.house.wait_state("hung", "running")
        flow.signal_process(self.redis.process.pid, signal.SIGSTOP)
        try:
            stood_still = time.monotonic()
            self.assertEqual(worker.process.wait(10), 70, worker.log())
            self.assertLess(time.monotonic() - stood_still, LEASE_MS * 4 / 3 / 1000 + 0.5)
        finally:
            flow.signal_process(self.redis.process.pid, signal.SIGCONT)
        self.assertIn("this process ends", worker.log())
        record = self.house.wait_state("hung", "queued")
        self.assertEqual((record["attempt"], record["crashes"]), ("1", "1"))
        self.house.cancel("hung")
        self.house.wait_state("hung", "cancelled")


if __name__ == "__main__":
    pt.main()
