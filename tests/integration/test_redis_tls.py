#!/usr/bin/python3
"""Redis by TLS (rediss://): the whole flow, with and without a certificate of our own, and what is refused and how."""
import unittest

import penstock_test as pt
from certificates import Authority


class TlsRedis:
    """A private redis-server that speaks TLS alone."""

    def __init__(self, authority, ask_for_certificate, san="IP:127.0.0.1"):
        pt.need_program("redis-server", "redis-server")
        self.dir, self.port = pt.temp_dir("redis"), pt.free_port()
        cert, key = authority.sign("redis", san)
        self.url = f"rediss://127.0.0.1:{self.port}"
        self.process = pt.Process(
            ["redis-server", "--port", 0, "--tls-port", self.port, "--bind", "127.0.0.1", "--dir", self.dir, "--save", "",
             "--maxmemory-policy", "noeviction", "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file",
             authority.cert, "--tls-auth-clients", "yes" if ask_for_certificate else "no"], self.dir / "redis.log")
        pt.wait_for(lambda: "Ready to accept connections" in self.process.log(), 20, self.process.log)


class Tls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = pt.temp_dir("redis-tls")
        cls.authority = Authority(cls.dir)
        cls.client_cert, cls.client_key = cls.authority.sign("client")
        cls.redis = TlsRedis(cls.authority, ask_for_certificate=True)
        cls.store = {"url": cls.redis.url, "tls_ca_file": cls.authority.cert, "tls_cert_file": cls.client_cert,
                     "tls_key_file": cls.client_key, "timeout_ms": 3000}

    def call(self, *args, code, **store):
        flags = [part for name, value in {**self.store, **store}.items() for part in ("-s", f"store.{name}={value}")]
        done = pt.penstock(*args, *flags, check=False)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stderr

    def test_jobs_run_from_command_to_event(self):
        kafka = pt.shared_kafka()
        settings = {"kafka": {"bootstrap.servers": kafka.bootstrap}, "store": self.store,
                    "models": {"repository": pt.SOURCE_DIR / "models"}}
        control = pt.Penstock("serve", settings)
        control.wait_log("serves . model versions")
        done = pt.penstock("demo", "-c", control.config_path, "--samples", pt.SOURCE_DIR / "models/digits/samples")
        self.assertIn("20 of 20", done.stdout)
        pt.penstock("verify", "--ended", "-c", control.config_path)  # which raises where something is wrong
        # workers hear of ready jobs at once by the other connection, which is only ever read
        self.assertNotIn("redis", "".join(line for line in control.log().splitlines() if " warn " in line))
        self.assertEqual(control.terminate(), 0)

    def test_server_is_refused_whose_certificate_nobody_vouches_for(self):
        (self.dir / "other").mkdir()
        other = Authority(self.dir / "other", "another authority")
        said = self.call("list", code=3, tls_ca_file=other.cert)
        self.assertIn("the certificate of 127.0.0.1 is not to be trusted: ", said)
        self.assertIn("not to be trusted", self.call("list", code=3, tls_ca_file=""))  # nor does the system's list

    def test_server_is_refused_whose_certificate_is_for_another_host(self):
        (self.dir / "elsewhere").mkdir()
        other = Authority(self.dir / "elsewhere")
        redis = TlsRedis(other, ask_for_certificate=False, san="DNS:redis.example")
        said = self.call("list", code=3, url=redis.url, tls_ca_file=other.cert, tls_cert_file="", tls_key_file="")
        self.assertIn("IP address mismatch", said)

    def test_missing_certificate_of_ours_is_told(self):
        said = self.call("list", code=3, tls_cert_file="", tls_key_file="")
        self.assertRegex(said, "certificate required|alert")

    def test_port_without_tls_is_told(self):
        plain = pt.Redis()
        self.assertIn("TLS: ", self.call("list", code=3, url=f"rediss://127.0.0.1:{plain.port}"))

    def test_files_that_cannot_be_used_are_refused_by_name_before_connecting(self):
        for setting in ("tls_ca_file", "tls_cert_file", "tls_key_file"):
            with self.subTest(setting):
                self.assertIn(f"store.{setting}: /nonexistent.pem: ", self.call("list", code=2, **{setting: "/nonexistent.pem"}))
        self.assertIn("store.tls_key_file: ", self.call("list", code=2, tls_key_file=self.authority.key))  # another's key
        self.assertIn("does not begin with rediss://", self.call("list", code=2, url=f"redis://127.0.0.1:{self.redis.port}"))


if __name__ == "__main__":
    pt.main()
