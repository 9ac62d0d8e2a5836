#!/usr/bin/python3
"""Redis by TLS (rediss://) and as a user with the least rights: the whole flow under both, what is refused and how. The rights
are the lines of docs/operations.md: each of them removed is missed by name, before anything is written."""
import re
import unittest

import penstock_test as pt
from certificates import Authority


def documented_user(name):
    """The words of the line that operations.md gives for a Redis user."""
    text = (pt.SOURCE_DIR / "docs/operations.md").read_text()
    return re.search(rf"^ACL SETUSER {name} on >\S+ (.*?)\n(?=\n|ACL|```)", text, re.M | re.S)[1].replace("\\\n", " ").split()


def set_user(redis, name, words):
    assert pt.redis_cli(redis, "ACL", "SETUSER", name, "reset", "on", ">secret", *words) == "OK"


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

    def test_jobs_run_from_command_to_event_as_the_least_user(self):
        kafka = pt.shared_kafka()
        settings = {"kafka": {"bootstrap.servers": kafka.bootstrap}, "store": dict(self.store),
                    "models": {"repository": pt.SOURCE_DIR / "models"}}
        tls = ["--tls", "--cacert", self.authority.cert, "--cert", self.client_cert, "--key", self.client_key]
        pt.run(["redis-cli", "-p", self.redis.port, *tls, "-e", "ACL", "SETUSER", "penstock", "on", ">secret",
                *documented_user("penstock")])
        settings["store"]["url"] = self.redis.url.replace("//", "//penstock:secret@")
        control = pt.Penstock("serve", settings)
        control.wait_log("serves . model versions")
        done = pt.penstock("demo", "-c", control.config_path, "--samples", pt.SOURCE_DIR / "models/digits/samples")
        self.assertIn("20 of 20", done.stdout)
        for command in (["pause", "digits"], ["resume", "digits"], ["drain", "--wait"], ["resume"], ["queues"], ["workers"],
                        ["models"], ["list"], ["verify", "--ended"]):
            pt.penstock(*command, "-c", control.config_path)  # which raises where something is wrong
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
        self.assertIn("it asks for a certificate, and store.tls_cert_file is not set", said)

    def test_port_without_tls_is_told(self):
        plain = pt.Redis()
        self.assertIn("TLS: ", self.call("list", code=3, url=f"rediss://127.0.0.1:{plain.port}"))

    def test_files_that_cannot_be_used_are_refused_by_name_before_connecting(self):
        for setting in ("tls_ca_file", "tls_cert_file", "tls_key_file"):
            with self.subTest(setting):
                self.assertIn(f"store.{setting}: /nonexistent.pem: ", self.call("list", code=2, **{setting: "/nonexistent.pem"}))
        self.assertIn("store.tls_key_file: ", self.call("list", code=2, tls_key_file=self.authority.key))  # another's key
        self.assertIn("does not begin with rediss://", self.call("list", code=2, url=f"redis://127.0.0.1:{self.redis.port}"))


class Rights(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.redis = pt.Redis()
        cls.words = documented_user("penstock")

    def worker(self, words, check=True):
        """A worker as a user of these rights; it ends at once when it may not work, and else goes on."""
        set_user(self.redis, "least", words)
        url = self.redis.url.replace("//", "//least:secret@")
        return pt.Penstock("worker", {"store": {"url": url}, "models": {"repository": pt.SOURCE_DIR / "tests/models"}})

    def refused(self, words, reason):
        worker = self.worker(words)
        self.assertEqual(worker.process.wait(), 1, worker.log())
        self.assertRegex(worker.log(), reason)
        self.assertNotRegex(worker.log(), " serves .* jobs")
        return worker.log()

    def test_each_right_removed_is_missed_by_name(self):
        pt.redis_cli(self.redis, "HSET", "penstock:meta", "store_epoch", "1", "run_id",
                     re.search(r"run_id:(\w+)", pt.redis_cli(self.redis, "INFO", "server"))[1])
        commands = [word for word in self.words if word.startswith("+")]
        self.assertGreater(len(commands), 35)
        for word in commands:
            with self.subTest(word):
                name = word[1:].replace("|", " ")
                rest = [other for other in self.words if other != word]
                self.refused(rest, rf"(?i)(may not run {name}\b|NOPERM .*'{re.escape(word[1:])}')")
        before = pt.redis_cli(self.redis, "DBSIZE")
        self.assertEqual(before, "1")  # nobody wrote anything

    def test_other_keys_and_channels_are_refused(self):
        keys, channels = ([word for word in self.words if word[0] == sign] for sign in "~&")
        self.assertEqual((keys, channels), (["~penstock:*"], ["&penstock:*"]))
        self.refused([word.replace("~penstock:*", "~other:*") for word in self.words], "NOPERM .*keys")
        self.refused([word.replace("&penstock:*", "&other:*") for word in self.words], "may not run PUBLISH penstock:wake")

    def test_readers_need_less(self):
        pt.redis_cli(self.redis, "HSET", "penstock:job:j1", "state", "completed", "seq", "1", "model", "m", "created_at", "1")
        set_user(self.redis, "reader", documented_user("penstock-read"))
        flags = ["-s", "store.url=" + self.redis.url.replace("//", "//reader:secret@")]
        for command in (["get", "j1"], ["list"], ["queues"], ["workers"], ["models"], ["top", "--once"]):
            with self.subTest(command):
                pt.penstock(*command, *flags)
        set_user(self.redis, "reader", [word for word in documented_user("penstock-read") if word != "+hgetall"])
        said = pt.penstock("get", "j1", *flags, check=False)
        self.assertEqual(said.returncode, 1)
        self.assertIn("'hgetall'", said.stderr)
        self.assertIn("hint: docs/operations.md", said.stderr)

    def test_wrong_password_is_told(self):
        set_user(self.redis, "least", self.words)
        said = pt.penstock("list", "-s", "store.url=" + self.redis.url.replace("//", "//least:wrong@"), check=False)
        self.assertEqual(said.returncode, 1)
        self.assertIn("WRONGPASS", said.stderr)

    def test_rights_asked_for_are_the_commands_that_the_sources_use(self):
        store = pt.SOURCE_DIR / "src/store"
        words = set()
        for path in [*store.glob("*.c"), *store.glob("lua/*.lua")]:
            if path.name != "rights.lua":
                words |= set(re.findall(r"""["']([A-Z]{3,})["']""", path.read_text()))
        known = [word for word in sorted(words) if pt.redis_cli(self.redis, "COMMAND", "INFO", word)]
        used = {word.lower() for word in known} - {"auth", "select", "readonly", "config"}  # two are of the connection, one is the name of an error, one may be given or not
        granted = {word[1:].split("|")[0] for word in self.words if word.startswith("+")}
        self.assertEqual(sorted(granted), sorted(used))


if __name__ == "__main__":
    pt.main()
