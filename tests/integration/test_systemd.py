#!/usr/bin/python3
"""The systemd units: well-formed, hardened to a measured level; and what the processes tell systemd, which a socket in
its place receives."""
import os
import re
import socket
import unittest

import penstock_test as pt

UNITS = {"penstock.service": 1.5, "penstock-worker@.service": 2.0}  # the exposure allowed, of 10
FOLDER = pt.SOURCE_DIR / "deploy/systemd"


class Units(unittest.TestCase):
    def setUp(self):
        pt.need_program("systemd-analyze", "systemd")

    def test_units_are_well_formed(self):
        # (it looks for the program at its place: here that is what was built)
        folder = pt.temp_dir("units")
        for unit in UNITS:
            text = (FOLDER / unit).read_text().replace("/usr/bin/penstock", str(pt.penstock_path()))
            path = folder / unit.replace("@.", "@0.")
            path.write_text(text)
            with self.subTest(unit):
                done = pt.run(["systemd-analyze", "verify", "--man=no", path], check=False)
                self.assertEqual((done.returncode, [line for line in done.stderr.splitlines() if path.name in line]), (0, []))

    def test_units_are_hardened(self):
        for unit, allowed in UNITS.items():
            with self.subTest(unit):
                done = pt.run(["systemd-analyze", "security", "--offline=true", f"--threshold={int(allowed * 10)}", FOLDER / unit],
                              check=False)
                level = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
                self.assertEqual(done.returncode, 0, done.stdout)
                self.assertLessEqual(float(level[1]), allowed)

    def test_control_process_sees_no_device(self):
        self.assertIn("PrivateDevices=yes", (FOLDER / "penstock.service").read_text())
        self.assertNotIn("DeviceAllow", (FOLDER / "penstock.service").read_text())


class Notify(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.redis = pt.Redis()

    def listen(self, address):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(sock.close)
        sock.bind(address)
        sock.settimeout(30)
        return sock

    def start(self, role, address, *args, **env):
        settings = {"store": {"url": self.redis.url}, "models": {"repository": pt.SOURCE_DIR / "tests/models"},
                    "kafka": {"bootstrap.servers": f"127.0.0.1:{pt.free_port()}"}}
        return pt.Penstock(role, settings, *args, env={"NOTIFY_SOCKET": address, **env})

    def test_control_process_is_ready_without_kafka_stays_alive_and_says_that_it_stops(self):
        path = str(pt.temp_dir("notify") / "socket")
        sock = self.listen(path)
        control = self.start("serve", path, WATCHDOG_USEC="200000")
        self.assertEqual(sock.recv(100), b"READY=1")
        for _ in range(3):
            self.assertEqual(sock.recv(100), b"WATCHDOG=1")
        control.process.signal(15)
        said = sock.recv(100)
        while said == b"WATCHDOG=1":
            said = sock.recv(100)
        self.assertEqual(said, b"STOPPING=1")  # and not the READY=1 of its worker: that has nobody to tell
        control.kill9()

    def test_worker_is_ready_when_its_models_are_loaded(self):
        address = f"@penstock-test-{os.getpid()}"  # an abstract one
        sock = self.listen("\0" + address[1:])
        worker = self.start("worker", address)
        self.assertEqual(sock.recv(100), b"READY=1")
        self.assertIn("model versions on", worker.log())
        self.assertEqual(worker.terminate(), 0)
        self.assertEqual(sock.recv(100), b"STOPPING=1")  # no watchdog was asked for

    def test_watchdog_of_another_process_is_none_of_ours(self):
        path = str(pt.temp_dir("notify") / "socket")
        sock = self.listen(path)
        worker = self.start("worker", path, WATCHDOG_USEC="100000", WATCHDOG_PID="1")
        self.assertEqual(sock.recv(100), b"READY=1")
        self.assertEqual(worker.terminate(), 0)
        self.assertEqual(sock.recv(100), b"STOPPING=1")


if __name__ == "__main__":
    pt.main()
