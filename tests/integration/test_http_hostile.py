"""The HTTP server against those who mean harm, and against a Kafka and a Redis that are away: each is refused with its
status, and the service goes on. There is no Kafka here, so nothing but the server itself is under test."""
import hashlib
import json
import os
import re
import signal
import socket
import ssl
import unittest

import flow
import http_client
import penstock_test as pt


class NoKafka:
    """Where nobody listens."""
    bootstrap = f"127.0.0.1:{pt.free_port()}"


def start(redis, name, args=(), **sections):
    house = http_client.HttpHouse(NoKafka, redis, name, **sections)
    house.serve("--no-workers", *args, wait=False)
    house.serves[-1].wait_log("http listens on")
    return house


def setUpModule():
    global redis, house, api, inputs, artifacts
    redis, inputs, artifacts = pt.Redis(), pt.temp_dir("inputs"), pt.temp_dir("artifacts")
    house = start(redis, "hostile", artifacts={"root": artifacts, "input_root": inputs},
                  http={"max_body_bytes": 65536, "max_upload_bytes": 2000000, "max_connections": 300, "max_connections_per_ip": 250,
                        "header_timeout_ms": 1500, "body_timeout_ms": 1500})
    unittest.addModuleCleanup(house.stop)
    api = house.api()


def raw(request, house=None, timeout=20, to_the_end=False):
    """Bytes to the server; everything that it answers until it closes, or has answered once in full."""
    port = (house or globals()["house"]).port
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as sock:
        for part in [request] if isinstance(request, bytes) else request:
            sock.sendall(part)
        answer = b""
        while True:
            try:
                chunk = sock.recv(65536)
            except ConnectionResetError:
                break
            answer += chunk
            head, _, body = answer.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            if not chunk or (not to_the_end and length and len(body) >= int(length[1])):
                break
    return answer


def status(answer):
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else None


def alive():
    return api("GET", "/v2/health/live").status == 200


class Hostile(unittest.TestCase):
    def tearDown(self):
        self.assertTrue(alive())

    def test_headers_that_come_too_slowly_are_408(self):
        self.assertEqual(status(raw(b"GET /jobs HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")), 408)
        self.assertEqual(status(raw(b"GET /jo")), 408)

    def test_a_body_that_comes_too_slowly_is_408(self):
        answer = raw(b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
        self.assertEqual(status(answer), 408)
        self.assertEqual(json.loads(answer.partition(b"\r\n\r\n")[2])["code"], "request_timeout")

    def test_a_body_over_the_limit_is_413_before_it_is_sent_and_while_it_is(self):
        self.assertEqual(status(raw(b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 70000000\r\n\r\n")), 413)
        self.assertEqual(api("POST", "/jobs", body=b" " * 70000, headers={"Content-Type": "application/json"}).status, 413)
        chunk = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
        self.assertEqual(status(raw(b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 5)), 413)

    def test_headers_over_the_limit_are_refused(self):
        self.assertIn(status(raw(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100000 + b"\r\n\r\n")), (400, 413, 431))
        self.assertIn(status(raw(b"GET /" + b"x" * 100000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")), (400, 413, 414, 431))

    def test_a_body_with_two_lengths_is_refused_and_nothing_behind_it_is_a_request(self):
        smuggled = b"0\r\n\r\nGET /jobs HTTP/1.1\r\nHost: localhost\r\n\r\n"
        for headers in (b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
                        b"Content-Length: 4\r\nContent-Length: 40\r\n", b"Content-Length: -4\r\n", b"Content-Length: +4\r\n",
                        b"Content-Length: 4, 40\r\n", b"Transfer-Encoding: chunked, identity\r\n"):
            answer = raw(b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + headers + b"\r\n" + smuggled, to_the_end=True)
            self.assertEqual(status(answer), 400, headers)
            self.assertNotIn(b"HTTP/1.1 2", answer, headers)

    def test_no_path_leads_out(self):
        (artifacts.parent / "secret").write_text("secret")
        for path in ("/../etc/passwd", "/web/..%2f..%2fetc%2fpasswd", "/%2e%2e/secret", "/jobs/a/artifacts/1-1/..%2f..%2f..%2fsecret",
                     "/jobs/a/artifacts/..%2f..%2fsecret/x", "/schemas/%00", "/web//etc/passwd", "/jobs/..", "/web/index.html%00.js"):
            answer = raw(b"GET " + path.encode() + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertIn(status(answer), (400, 404), path)
            self.assertNotIn(b"root:", answer)

    def test_what_is_no_http_is_refused(self):
        for request in (b"\0" * 100 + b"\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET http://evil/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
                        b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"):
            self.assertNotEqual(status(raw(request)), 200, request)

    def test_another_host_and_another_origin_are_403(self):
        self.assertEqual(api("GET", "/jobs", headers={"Host": "evil.example"}).status, 403)
        self.assertEqual(api("GET", "/jobs", headers={"Origin": "https://evil.example"}).status, 403)
        origin = {"Origin": f"http://127.0.0.1:{house.port}"}
        self.assertEqual(api("GET", "/jobs", headers=origin).status, 200)

    def test_two_thousand_connections_are_each_answered_or_closed(self):
        socks, told = [], 0
        try:
            for _ in range(2000):
                sock = socket.socket()
                sock.setblocking(False)
                sock.connect_ex(("127.0.0.1", house.port))
                socks.append(sock)
            sock = socks[299]
            pt.wait_for(lambda: not sock.setblocking(True) and not sock.settimeout(10)
                        and (sock.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n") or True), 10, "it is connected")
            told = status(sock.recv(4096))
        except (ConnectionResetError, BrokenPipeError):
            told = 503
        finally:
            for sock in socks:
                sock.close()
        self.assertEqual(told, 503)
        pt.wait_for(lambda: raw(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 200"), 30, "it goes on")


class Uploads(unittest.TestCase):
    def test_an_upload_is_streamed_hashed_and_named_by_a_uri(self):
        data = os.urandom(1500000)
        answer = api("POST", "/uploads", body=data, headers={"Content-Type": "application/octet-stream"})
        self.assertEqual((answer.status, answer.json["bytes"], answer.json["sha256"]), (201, len(data), hashlib.sha256(data).hexdigest()))
        self.assertEqual(open(answer.json["uri"].removeprefix("file://"), "rb").read(), data)

    def test_one_that_is_too_large_or_breaks_off_leaves_nothing(self):
        self.assertEqual(api("POST", "/uploads", body=b"x", headers={"Content-Type": "text/plain"}).status, 415)
        before = sorted(os.listdir(inputs / "uploads")) if (inputs / "uploads").exists() else []
        self.assertEqual(status(raw(b"POST /uploads HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000000\r\n\r\n")), 413)
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        self.assertEqual(status(raw([b"POST /uploads HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"] + [chunk] * 31)), 413)
        with socket.create_connection(("127.0.0.1", house.port)) as sock:
            sock.sendall(b"POST /uploads HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc")
        pt.wait_for(lambda: sorted(os.listdir(inputs / "uploads")) == before, 20, lambda: os.listdir(inputs / "uploads"))


class Artifacts(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = artifacts / "a1" / "1-1"
        folder.mkdir(parents=True)
        (folder / "out%2Fput").write_bytes(bytes(range(256)))
        cls.path = "/jobs/a1/artifacts/1-1/out%2Fput"

    def test_ranges_and_tags(self):
        whole = api("GET", self.path)
        self.assertEqual((whole.status, whole.body, whole.headers["accept-ranges"]), (200, bytes(range(256)), "bytes"))
        part = api("GET", self.path, headers={"Range": "bytes=10-19"})
        self.assertEqual((part.status, part.body, part.headers["content-range"]), (206, bytes(range(10, 20)), "bytes 10-19/256"))
        self.assertEqual(api("GET", self.path, headers={"Range": "bytes=-6"}).body, bytes(range(250, 256)))
        outside = api("GET", self.path, headers={"Range": "bytes=256-"})
        self.assertEqual((outside.status, outside.headers["content-range"]), (416, "bytes */256"))
        self.assertEqual(api("GET", self.path, headers={"If-None-Match": whole.headers["etag"]}).status, 304)
        self.assertEqual(api("GET", self.path, headers={"Range": "bytes=0-1", "If-Range": '"other"'}).status, 200)
        self.assertEqual(api("GET", "/jobs/a1/artifacts/1-2/out%2Fput").status, 404)
        self.assertEqual(api("GET", "/jobs/a1/artifacts/out").status, 404)


class Away(unittest.TestCase):
    def test_without_kafka_commands_are_503_and_live_is_200(self):
        answer = api("POST", "/jobs", json={"model": "echo"})
        self.assertEqual((answer.status, answer.json["code"], answer.json["retryable"]), (503, "bus_unavailable", True))
        self.assertIn("retry-after", answer.headers)
        ready = api("GET", "/v2/health/ready")
        self.assertEqual((ready.status, ready.json["kafka"], ready.json["redis"]), (503, False, True))

    def test_a_redis_that_hangs_is_503_and_hangs_nobody(self):
        os.kill(redis.process.pid, signal.SIGSTOP)
        try:
            answers = [api("GET", "/jobs/x") for _ in range(20)]
            self.assertEqual({(a.status, a.json["code"]) for a in answers}, {(503, "store_unavailable")})
            self.assertTrue(alive())
        finally:
            os.kill(redis.process.pid, signal.SIGCONT)
        pt.wait_for(lambda: api("GET", "/jobs/x").status == 404, 20, "it answers again")


class Static(unittest.TestCase):
    def test_pages_and_schemas_come_with_their_type_tag_and_policy(self):
        for path, media in (("/", "text/html"), ("/schemas/openapi.yaml", "application/yaml"), ("/schemas/job-event.schema.json", "application/json")):
            answer = raw(b"GET " + path.encode() + b" HTTP/1.1\r\nHost: localhost\r\n\r\n").decode()
            self.assertTrue(answer.startswith("HTTP/1.1 200") and f"Content-Type: {media}" in answer, path)
            self.assertIn("Content-Security-Policy: default-src 'none'", answer)
            tag = re.search(r"ETag: (\S+)", answer)[1]
            again = raw(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: {tag}\r\nConnection: close\r\n\r\n".encode())
            self.assertEqual(status(again), 304)


class Tokens(unittest.TestCase):
    def test_each_role_may_what_it_says_and_a_new_token_counts_at_once(self):
        path = pt.temp_dir("tokens") / "tokens"
        def make(name, roles):
            return pt.penstock("token", name, "--roles", roles, "--file", path).stdout.strip()
        reader, sender = make("reader", "read"), make("sender", "submit")
        other = start(redis, "tokens", http={"token_file": path})
        self.addCleanup(other.stop)
        answer = other.api()("GET", "/jobs")
        self.assertEqual((answer.status, answer.json["code"], answer.headers["www-authenticate"][:6]), (401, "unauthorized", "Bearer"))
        self.assertEqual(other.api("pst_wrong")("GET", "/jobs").status, 401)
        self.assertEqual(other.api(reader)("GET", "/jobs").status, 200)
        self.assertEqual(other.api(sender)("GET", "/jobs").status, 403)
        self.assertEqual(other.api(reader)("POST", "/jobs", json={"model": "echo"}).status, 403)
        self.assertEqual(other.api(reader)("POST", "/v1/mode", json={"type": "pause"}).status, 403)
        self.assertEqual(other.api()("GET", "/v2/health/live").status, 200)
        self.assertNotIn(reader, path.read_text())
        second = make("reader", "read")
        pt.wait_for(lambda: other.api(second)("GET", "/jobs").status == 200, 10, "the new token counts")
        self.assertEqual(other.api(reader)("GET", "/jobs").status, 200)
        path.write_text("broken")
        other.serves[-1].wait_log("the tokens from before stay in force")
        self.assertEqual(other.api(reader)("GET", "/jobs").status, 200)

    def test_other_machines_need_tokens_or_an_explicit_word(self):
        house = http_client.HttpHouse(NoKafka, redis, "open", http={"listen": f"0.0.0.0:{pt.free_port()}"})
        done = house.cli("serve", "--no-workers", check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("--insecure", done.stderr)
        other = start(redis, "open", ["--insecure"], http={"listen": f"0.0.0.0:{pt.free_port()}"})
        other.stop()

    def test_tls_with_a_certificate_of_our_own(self):
        pt.need_program("openssl", "openssl")
        folder = pt.temp_dir("tls")
        pt.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost", "-addext",
                "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"])
        other = start(redis, "tls", http={"tls_cert": folder / "cert.pem", "tls_key": folder / "key.pem"})
        self.addCleanup(other.stop)
        self.assertEqual(other.api(ca=folder / "cert.pem")("GET", "/jobs").status, 200)
        with self.assertRaises(ssl.SSLError):
            http_client.Api(other.api_url, ca="/etc/ssl/certs/ca-certificates.crt")("GET", "/jobs")
        house = http_client.HttpHouse(NoKafka, redis, "half", http={"tls_cert": folder / "cert.pem"})
        self.assertEqual(house.cli("serve", "--no-workers", check=False).returncode, 2)


if __name__ == "__main__":
    pt.main()
