#!/usr/bin/python3
"""Kafka with logins (SCRAM, PLAIN), access control lists, TLS and client certificates, all on one broker: the rights that
docs/operations.md lists for each process are enough for it, and each of them that is missing is told by name, and missed
no longer once it is given. A wrong password, an unknown authority and a missing certificate are told as what they are."""
import concurrent.futures
import ctypes
import json
import os
import re
import unittest
import unittest.mock
import urllib.error
import urllib.request

import kafka_rights
import penstock_test as pt
from certificates import Authority

SCRAM_KAFKA = "3.9.1"  # the last that takes SCRAM from librdkafka before 2.6.1, which Debian 12 has
EVENTS, DLQ, COMMANDS, CONTROL = "penstock.events", "penstock.commands.dlq", "penstock.commands", "penstock.control"
USERS = ["serve", "submit", "cancel", "events", "verify", "maker", "reader", "web"]


def documented_rights():
    """{process: [(operation, kind, name)]} of the table in operations.md."""
    text = (pt.SOURCE_DIR / "docs/operations.md").read_text()
    table = re.search(r"^\| process \| rights \|\n\|---\|---\|\n((?:\|.*\n)+)", text, re.M)[1]
    return {re.search(r"\w+", who)[0]: re.findall(r"(Read|Write) (topic|group) `([\w.-]+)`", what)
            for who, what in re.findall(r"^\| (.*?) \| (.*) \|$", table, re.M)}


def login(mechanism, user, password="secret"):
    return {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanisms": mechanism, "sasl.username": user, "sasl.password": password}


class SecureKafka:
    """Beside the plain listener, whose users may do everything: LOGIN (SASL), TLS (SASL over TLS), CERT (client certificates)."""

    def __init__(self, authority):
        cert, key = authority.sign("broker", "IP:127.0.0.1")
        store = authority.dir / "broker.store.pem"
        store.write_text(key.read_text() + cert.read_text())
        self.ports = {name: pt.free_port() for name in ("LOGIN", "TLS", "CERT")}
        protocols = {"LOGIN": "SASL_PLAINTEXT", "TLS": "SASL_SSL", "CERT": "SSL"}
        options = [part for name, port in self.ports.items() for part in ("--listener", f"{name}:{protocols[name]}:{port}")]
        modules = "org.apache.kafka.common.security"
        passwords = " ".join(f'user_{user}="secret"' for user in USERS)
        properties = [
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer", "super.users=User:ANONYMOUS",
            "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512", "ssl.keystore.type=PEM", f"ssl.keystore.location={store}",
            "ssl.truststore.type=PEM", f"ssl.truststore.location={authority.cert}", "listener.name.cert.ssl.client.auth=required",
            "listener.name.cert.ssl.principal.mapping.rules=RULE:^CN=(.*)$/$1/"]
        for name in ("login", "tls"):
            properties += [f"listener.name.{name}.plain.sasl.jaas.config={modules}.plain.PlainLoginModule required {passwords};",
                           f"listener.name.{name}.scram-sha-512.sasl.jaas.config={modules}.scram.ScramLoginModule required;"]
        self.kafka = pt.Kafka(*properties, options=[*options, "--scram", "events=secret"])
        self.rights = kafka_rights.Rights(self.kafka.bootstrap)

    def flags(self, listener, properties, **settings):
        settings = {"kafka.bootstrap.servers": f"127.0.0.1:{self.ports[listener]}", **settings}
        settings.update({f"kafka.{name}": value for name, value in properties.items()})
        return [part for name, value in settings.items() for part in ("-s", f"{name}={value}")]


class Security(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = pt.temp_dir("kafka-security")
        cls.authority = Authority(cls.dir)
        cls.secure = SecureKafka(cls.authority)
        cls.rights, cls.redis = cls.secure.rights, pt.Redis()
        cls.needs = documented_rights()
        # makes the topics, as somebody who may
        maker = pt.Penstock("serve", cls.settings(cls.secure.kafka.bootstrap, {}))
        maker.wait_log("assigned")
        maker.terminate()

    @classmethod
    def settings(cls, bootstrap, properties, **bus):
        # a member that was killed is forgotten soon
        kafka = {"bootstrap.servers": bootstrap, "session.timeout.ms": 2000, "heartbeat.interval.ms": 500, **properties}
        return {"kafka": kafka, "bus": bus, "store": {"url": cls.redis.url}, "models": {"repository": pt.SOURCE_DIR / "tests/models"}}

    def serve(self, **bus):
        address = f"127.0.0.1:{self.secure.ports['LOGIN']}"
        return pt.Penstock("serve", self.settings(address, login("PLAIN", "serve"), create_topics="false", **bus))

    def send(self, job_id):
        command = {"type": "create", "job_id": job_id, "model": "echo"}
        pt.kcat_produce(self.secure.kafka, COMMANDS, [{"key": job_id, "value": json.dumps(command)}])

    def call(self, listener, properties, *args, code=3):
        """Runs a command; returns its standard error, if it ended with `code`."""
        done = pt.penstock(*args, *self.secure.flags(listener, properties, **{"store.url": self.redis.url}), check=False)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stderr

    # --- rights

    def test_serve_needs_what_is_documented_and_tells_each_right_that_it_lacks(self):
        needs = self.needs["serve"]
        reads = [right for right in needs if right[0] == "Read"]
        self.assertEqual((len(needs), len(reads)), (6, 4))
        for right in needs:
            self.rights.allow("serve", *right)
        for right in reads:  # from the start
            with self.subTest(right):
                self.rights.forget("serve", *right)
                control = self.serve()
                control.wait_log(rf"kafka consumer: .*{re.escape(right[2])}: .*[Aa]uthorization failed.*\(bus_denied\): grant")
                self.rights.allow("serve", *right)
                control.wait_log(rf"assigned {CONTROL if CONTROL[-7:] in right[2] else COMMANDS}\[")
                control.terminate()
        control = self.serve()
        control.wait_log(rf"assigned {COMMANDS}\[")
        for right, name in ((("Write", "topic", EVENTS), "event"), (("Read", "topic", COMMANDS), "command")):  # while it runs
            with self.subTest(right):
                self.rights.forget("serve", *right)
                self.send(f"denied-{name}")
                control.wait_log(rf"{re.escape(right[2])}.*[Aa]uthorization failed.*\(bus_denied\)")
                self.rights.allow("serve", *right)
                pt.wait_for(lambda: "penstock.job.completed" in self.events_of(f"denied-{name}"), 60, control.log)
        self.rights.forget("serve", "Write", "topic", DLQ)
        pt.kcat_produce(self.secure.kafka, COMMANDS, [{"value": "no command"}])
        control.wait_log(rf"produce to {re.escape(DLQ)}: .*[Aa]uthorization failed.*\(bus_denied\)")
        self.rights.allow("serve", "Write", "topic", DLQ)
        self.assertEqual(pt.kcat_consume(self.secure.kafka, DLQ, 1, 60)[0]["payload"], "no command")
        self.assertEqual(control.terminate(), 0)

    def test_http_works_with_what_is_documented_and_tells_each_right_to_write_that_it_lacks(self):
        for right in [*self.needs["serve"], *self.needs["HTTP"]]:
            self.rights.allow("web", *right)
        settings = self.settings(f"127.0.0.1:{self.secure.ports['LOGIN']}", login("PLAIN", "web"), create_topics="false", group="web")
        self.rights.allow("web", "Read", "group", "web")
        self.rights.allow("web", "Read", "group", "web-control")
        port = pt.free_port()
        control = pt.Penstock("serve", {**settings, "http": {"listen": f"127.0.0.1:{port}"}})
        control.wait_log(rf"assigned {COMMANDS}\[")

        def ask(method, path, body=None):
            request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method, data=body,
                                             headers={"Content-Type": "application/json"})
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return answer.status, json.load(answer)
            except urllib.error.HTTPError as error:
                return error.code, json.load(error)

        later = json.dumps({"model": "echo", "job_id": "web-1", "not_before": "2100-01-01T00:00:00Z"}).encode()
        for right, question in ((COMMANDS, ("POST", "/jobs", later)), (CONTROL, ("DELETE", "/jobs/web-1"))):
            with self.subTest(right):
                self.rights.forget("web", "Write", "topic", right)
                status, answer = ask(*question)
                self.assertEqual((status, answer["code"]), (503, "bus_denied"), answer)
                self.assertIn(right, answer["message"])
                self.rights.allow("web", "Write", "topic", right)
                self.assertEqual(pt.wait_for(lambda: (done := ask(*question)[0]) != 503 and done, 60), 202)
                pt.wait_for(lambda: ask("GET", "/jobs/web-1")[0] == 200, 60, control.log)

        def streams():
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/events", timeout=30) as answer:
                    return answer.status == 200
            except urllib.error.HTTPError:
                return False

        pt.wait_for(streams, 60, control.log)
        control.terminate()

    def events_of(self, job_id):
        return [dict(message["headers"])["ce_type"] for message in pt.kcat_read(self.secure.kafka, EVENTS) if message["key"] == job_id]

    def test_commands_need_what_is_documented_and_tell_each_right_that_they_lack(self):
        calls = {"submit": ["submit", "--model", "echo"], "cancel": ["cancel", "nobody"], "events": ["events", "--from-beginning"],
                 "verify": ["verify", "--wait", "1"]}
        self.assertEqual(sorted([*calls, "serve", "HTTP"]), sorted(self.needs))
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for future in [pool.submit(self.rights_of_command, user, args) for user, args in calls.items()]:
                future.result()

    def rights_of_command(self, user, args):
        who = login("PLAIN", user)
        for right in self.needs[user]:
            self.rights.allow(user, *right)
        self.call("LOGIN", who, *args, code=0)
        for right in self.needs[user]:
            self.rights.forget(user, *right)
            said = self.call("LOGIN", who, *args)
            self.assertRegex(said, rf"{re.escape(right[2])}: .*[Aa]uthorization failed")
            self.assertIn("hint: grant the Kafka user the right", said)
            self.rights.allow(user, *right)

    def test_topics_that_are_missing_need_create(self):
        topics = {f"{name}_topic": f"mine.{name}" for name in ("commands", "control", "events", "dlq")}
        address, maker = f"127.0.0.1:{self.secure.ports['LOGIN']}", login("PLAIN", "maker")
        control = pt.Penstock("serve", self.settings(address, maker, **topics))
        control.wait_log(r"create topic mine\.\w+: .*uthorization failed.*\(bus_denied\)")
        for name in topics.values():
            self.rights.allow("maker", "Create", "topic", name)
        pt.wait_for(lambda: set(topics.values()) <= self.topics(), 60, control.log)
        control.terminate()

    def topics(self):
        return set(re.findall(r'^  topic "(.*?)"', pt.run(["kcat", "-L", "-b", self.secure.kafka.bootstrap]).stdout, re.M))

    # --- logins

    def test_wrong_password_is_told_as_such(self):
        said = self.call("LOGIN", login("PLAIN", "events", "wrong"), "events", "--from-beginning")
        self.assertRegex(said, "SASL authentication error: .*Invalid username or password")
        self.assertIn("hint: grant the Kafka user the right, or correct its password", said)
        said = self.call("LOGIN", login("PLAIN", "events", "wrong"), "config", "--check", "--connect", code=2)
        self.assertEqual(said.count("Invalid username or password"), 1)  # and not for each topic

    def test_scram_works_or_what_stands_in_its_way_is_told(self):
        if ctypes.CDLL("librdkafka.so.1").rd_kafka_version() >= 0x020601FF:
            self.rights.allow("events", "Read", "topic", EVENTS)
            self.call("LOGIN", login("SCRAM-SHA-512", "events"), "events", "--from-beginning", code=0)
        else:
            said = self.call("LOGIN", login("SCRAM-SHA-512", "events"), "events", "--from-beginning")
            self.assertIn("it is librdkafka before 2.6.1 that cannot do SCRAM", said)

    # --- TLS

    def test_kafka_is_reached_by_tls_if_its_authority_is_known(self):
        self.rights.allow("reader", "Read", "topic", EVENTS)
        reader = {**login("PLAIN", "reader"), "security.protocol": "SASL_SSL", "ssl.ca.location": self.authority.cert}
        events = ["events", "--from-beginning"]
        self.call("TLS", reader, *events, code=0)
        (self.dir / "other").mkdir()
        stranger = {**reader, "ssl.ca.location": Authority(self.dir / "other").cert}
        said = self.call("TLS", stranger, *events)
        self.assertIn("certificate verify failed", said)
        self.assertIn("hint: is Kafka at kafka.bootstrap.servers, with this security.protocol?", said)
        elsewhere = {**reader, "bootstrap.servers": f"localhost:{self.secure.ports['TLS']}"}  # which the certificate does not name
        self.assertIn("certificate verify failed", self.call("TLS", elsewhere, *events))

    def test_client_is_known_by_its_certificate(self):
        self.rights.allow("sealed", "Read", "topic", EVENTS)
        cert, key = self.authority.sign("sealed")
        trust = {"security.protocol": "SSL", "ssl.ca.location": self.authority.cert}
        events = ["events", "--from-beginning"]
        self.call("CERT", {**trust, "ssl.certificate.location": cert, "ssl.key.location": key}, *events, code=0)
        self.assertIn("certificate", self.call("CERT", trust, *events))

    def test_port_that_wants_tls_is_not_called_absent(self):
        said = self.call("TLS", {}, "events", "--from-beginning")
        self.assertIn("with this security.protocol?", said)


class Scram(unittest.TestCase):
    def test_scram_logs_in_with_the_right_password_alone(self):
        port = pt.free_port()
        with unittest.mock.patch.dict(os.environ, PENSTOCK_KAFKA_VERSION=SCRAM_KAFKA):
            kafka = pt.Kafka("sasl.enabled.mechanisms=SCRAM-SHA-512", "listener.name.login.scram-sha-512.sasl.jaas.config="
                             "org.apache.kafka.common.security.scram.ScramLoginModule required;",
                             options=["--listener", f"LOGIN:SASL_PLAINTEXT:{port}", "--scram", "penstock=secret"])
        self.addCleanup(kafka.stop)
        redis = pt.Redis()
        settings = {"kafka": {"bootstrap.servers": f"127.0.0.1:{port}", **login("SCRAM-SHA-512", "penstock")}, "store": {"url": redis.url},
                    "models": {"repository": pt.SOURCE_DIR / "tests/models"}}
        control = pt.Penstock("serve", settings)
        control.wait_log(rf"assigned {COMMANDS}\[")
        pt.penstock("submit", "--model", "echo", "--wait", "-c", control.config_path)
        self.assertEqual(control.terminate(), 0)
        done = pt.penstock("events", "-c", control.config_path, "-s", "kafka.sasl.password=wrong", check=False)
        self.assertEqual(done.returncode, 3)
        self.assertIn("invalid credentials with SASL mechanism SCRAM-SHA-512", done.stderr)


if __name__ == "__main__":
    pt.main()
