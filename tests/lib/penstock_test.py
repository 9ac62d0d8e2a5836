"""penstock_test: real processes for the integration tests: Redis, Kafka, Penstock, and kcat as an outside client.

    import penstock_test as pt

    class Submit(unittest.TestCase):
        def test_job_completes(self):
            kafka, redis = pt.shared_kafka(), pt.Redis()
            control = pt.Penstock("serve", {"kafka": {"bootstrap.servers": kafka.bootstrap}, "store": {"url": redis.url}})
            control.wait_log("ready")
            pt.kcat_produce(kafka, "penstock.commands", [{"key": "j1", "value": json.dumps(command)}])
            pt.wait_for(lambda: pt.redis_cli(redis, "HGET", "penstock:job:j1", "state") == "completed", 20, "j1 completed")

    if __name__ == "__main__":
        pt.main()

Only the standard library. What is missing on this machine raises Missing, which is a skip that says what to install; a
file whose tests were all skipped exits with 77. Nothing outlives the test: every child is killed when the main thread of the
test dies, however it dies (PR_SET_PDEATHSIG), so start processes from the main thread; an ordinary end also kills what the
children left in their process groups. PENSTOCK_KEEP=1 keeps the directories.
"""
import atexit
import ctypes
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

SOURCE_DIR = Path(os.environ.get("PENSTOCK_SOURCE_DIR", Path(__file__).resolve().parents[2]))
BUILD_DIR = Path(os.environ.get("PENSTOCK_BUILD_DIR", SOURCE_DIR / "build"))
KEEP = os.environ.pop("PENSTOCK_KEEP", None)  # penstock itself takes such names for its settings
EXIT_SKIP = 77
POLL_SECONDS = 0.02

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)
_running = []  # every Process that was started and not yet reaped


class Missing(unittest.SkipTest):
    """Something that the test needs is not installed here."""


def need_program(name, package):
    if shutil.which(name) is None:
        raise Missing(f"{name} is missing (Debian package {package})")


# --- waiting and directories ------------------------------------------------------------------------------------------

def wait_for(cond, deadline=30, what="the condition"):
    """Asks until cond() is true and returns what it returned; fails after `deadline` seconds. `what` may be a callable."""
    end = time.monotonic() + deadline
    while True:
        answer = cond()
        if answer:
            return answer
        if time.monotonic() >= end:
            raise AssertionError(f"not within {deadline} s: {what() if callable(what) else what}")
        time.sleep(POLL_SECONDS)


def temp_dir(name="penstock-test"):
    """A directory that is removed when the program ends."""
    path = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    if not KEEP:
        atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


# --- processes --------------------------------------------------------------------------------------------------------

def run(cmd, check=True, timeout=60, input=None, env=None):
    """Runs a command to its end; returns subprocess.CompletedProcess with text output. check: a failure raises, with it."""
    done = subprocess.run([str(part) for part in cmd], input=input, capture_output=True, timeout=timeout, env=env,
                          text=not isinstance(input, bytes))
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, cmd))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


class Process:
    """A child with its output in a file. It leads a process group of its own, which ends with the test."""

    def __init__(self, argv, log_path, env=None, cwd=None):
        self.argv = [str(part) for part in argv]
        self.log_path = Path(log_path)
        parent = os.getpid()

        def in_child():
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # it died before prctl could see to it
                os._exit(1)

        with open(self.log_path, "ab") as log:
            self.log_start = log.tell()
            self.popen = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, cwd=cwd,
                                          preexec_fn=in_child, start_new_session=True)
        _running.append(self)

    @property
    def pid(self):
        return self.popen.pid

    def alive(self):
        return self.popen.poll() is None

    def log(self):
        """What it has written so far (this process, not an earlier one with the same file)."""
        with open(self.log_path, "rb") as log:
            log.seek(self.log_start)
            return log.read().decode(errors="replace")

    def wait(self, timeout=30):
        """Its exit code; negative: the signal that ended it."""
        code = self.popen.wait(timeout)
        if self in _running:
            _running.remove(self)
        return code

    def terminate(self, timeout=30):
        """SIGTERM, and the exit code. One that does not obey is a failure."""
        if self.alive():
            self.popen.terminate()
        try:
            return self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill9_group()
            raise AssertionError(f"{' '.join(self.argv)} ignored SIGTERM for {timeout} s") from None

    def kill9(self):
        """SIGKILL to it alone, as the kernel's out-of-memory killer does."""
        if self.alive():
            self.popen.kill()
        self.wait()

    def kill9_group(self):
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.wait()

    def signal(self, number):
        self.popen.send_signal(number)


def _kill_all():
    for process in list(_running):
        process.kill9_group()


atexit.register(_kill_all)


# --- Redis ------------------------------------------------------------------------------------------------------------

class Redis:
    """A private redis-server: appendonly everysec, noeviction, a directory of its own."""

    def __init__(self, *options):
        need_program("redis-server", "redis-server")
        need_program("redis-cli", "redis-tools")
        self.dir = temp_dir("redis")
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.options = options
        self.start()

    def start(self):
        self.process = Process(
            ["redis-server", "--port", self.port, "--bind", "127.0.0.1", "--dir", self.dir, "--appendonly", "yes",
             "--appendfsync", "everysec", "--save", "", "--maxmemory-policy", "noeviction", *self.options],
            self.dir / "redis.log")
        wait_for(self._answers, 20, lambda: f"redis-server answers:\n{self.process.log()}")

    def _answers(self):
        if not self.process.alive():
            raise AssertionError(f"redis-server ended at start:\n{self.process.log()}")
        return run(["redis-cli", "-p", self.port, "PING"], check=False).stdout.strip() == "PONG"

    def kill9(self):
        self.process.kill9()

    def restart(self):
        """With what is on disk; an everysec append file may lack the last second."""
        self.kill9()
        self.start()

    def wipe(self):
        """Kills it and starts it empty."""
        self.kill9()
        shutil.rmtree(self.dir / "appendonlydir", ignore_errors=True)
        self.start()

    def terminate(self):
        """SIGTERM: the append file is written to its end, so that a start() after it has lost nothing."""
        self.process.terminate()

    def stop(self):
        self.process.kill9()


def redis_cli(redis, *args, json_reply=False):
    """One command. Text as redis-cli prints it raw (nil is ""), or, with json_reply, the parsed reply."""
    options = ["--json"] if json_reply else ["--raw"]
    done = run(["redis-cli", "-p", redis.port, *options, "-e", *args])
    return json.loads(done.stdout) if json_reply else done.stdout.rstrip("\n")


def redis_hash(redis, key):
    """HGETALL as a dict; empty if the key does not exist."""
    lines = redis_cli(redis, "HGETALL", key).split("\n")
    return dict(zip(lines[::2], lines[1::2]))


# --- Kafka ------------------------------------------------------------------------------------------------------------

class Kafka:
    """A real Apache Kafka, one node, through scripts/lib/kafka. `properties` are "name=value" for server.properties, `options`
    more of the script's."""

    def __init__(self, *properties, options=()):
        need_program("kcat", "kcat")
        self.dir = temp_dir("kafka")
        self.port, self.controller_port = free_port(), free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.properties, self.options = properties, options
        self.start()

    def start(self):
        self.process = Process([SOURCE_DIR / "scripts/lib/kafka", "start", "--dir", self.dir, "--port", self.port,
                                "--controller-port", self.controller_port, *self.options, "--", *self.properties],
                               self.dir / "start.log")
        wait_for(self._ready, 180, lambda: f"Kafka is ready:\n{self.process.log()}")

    def _ready(self):
        if not self.process.alive():
            if self.process.wait() == EXIT_SKIP:
                raise Missing(self.process.log().strip())
            raise AssertionError(f"Kafka did not start:\n{self.process.log()}")
        return re.search(r"^ready ", self.process.log(), re.MULTILINE)

    def kill9(self):
        """Kills the JVM; the script that waits for it ends too, and then the port is free again."""
        if self.process.alive():
            os.kill(int((self.dir / "kafka.pid").read_text()), signal.SIGKILL)
        self.process.wait()

    def restart(self):
        """Same port, same data."""
        if self.process.alive():
            self.kill9()
        self.start()

    def stop(self):
        self.process.kill9_group()


def java_client(kafka, *args, input=None, timeout=60):
    """Runs tests/lib/OutsideClient.java, which uses Apache Kafka's own client; returns what it prints."""
    modules = run(["java", "--list-modules"], check=False).stdout if shutil.which("java") else ""
    if "jdk.compiler" not in modules:
        raise Missing("a Java compiler is missing (Debian package openjdk-17-jdk-headless)")
    libs = run([SOURCE_DIR / "scripts/fetch-kafka"], timeout=300).stdout.strip()
    return run(["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx256m",
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{libs}/*",
                SOURCE_DIR / "tests/lib/OutsideClient.java", kafka.bootstrap, *args], input=input, timeout=timeout).stdout


_shared_kafka = None


def shared_kafka():
    """One Kafka for the whole test file, started when it is first asked for."""
    global _shared_kafka
    if _shared_kafka is None:
        _shared_kafka = Kafka()
    return _shared_kafka


# What keeps keys and messages apart on kcat's standard input. Longer than a byte, because messages may hold any byte.
_KEY_END, _MESSAGE_END = b"\x1e-penstock-key-\x1e", b"\x1f-penstock-message-\x1f"


def as_bytes(value):
    return value.encode() if isinstance(value, str) else value


def kcat_produce(kafka, topic, messages, timeout=60):
    """Produces dicts {"key", "value", "headers": {name: value}}, all but value optional, in order, with acks=all. Keys
    and values are text or bytes; kcat skips an empty value."""
    need_program("kcat", "kcat")
    index = 0
    while index < len(messages):  # kcat's headers hold for a whole run: one run for each stretch of equal headers
        headers = messages[index].get("headers") or {}
        end = index
        while end < len(messages) and (messages[end].get("headers") or {}) == headers:
            end += 1
        options = [part for name, value in headers.items() for part in ("-H", f"{name}={value}")]
        text = b"".join((b"" if message.get("key") is None else as_bytes(message["key"]) + _KEY_END)
                        + as_bytes(message["value"]) + _MESSAGE_END for message in messages[index:end])
        run(["kcat", "-P", "-b", kafka.bootstrap, "-t", topic, "-K", _KEY_END.decode(), "-D", _MESSAGE_END.decode(),
             "-X", "acks=all", "-X", "enable.idempotence=true", "-X", "partitioner=murmur2_random",
             "-X", "message.max.bytes=4194304", *options], input=text, timeout=timeout)
        index = end


def kcat_read(kafka, topic, timeout=60):
    """Everything that stands in the topic now, as a read_committed reader sees it: a list of dicts with topic, partition,
    offset, key, payload (text or None; bytes that are no UTF-8 as surrogates: see payload_bytes), headers (pairs)."""
    need_program("kcat", "kcat")
    done = subprocess.run(["kcat", "-C", "-q", "-e", "-J", "-b", kafka.bootstrap, "-t", topic, "-o", "beginning", "-X",
                           "isolation.level=read_committed", "-X", "fetch.wait.max.ms=20"], capture_output=True,
                          timeout=timeout)
    if done.returncode != 0:
        raise AssertionError(f"kcat -C -t {topic} ended with {done.returncode}:\n{done.stderr.decode()}")
    lines = done.stdout.decode(errors="surrogateescape").split("\n")
    messages = [json.loads(line, strict=False) for line in lines if line]
    for message in messages:
        flat = message.get("headers") or []
        message["headers"] = list(zip(flat[::2], flat[1::2]))
    return sorted(messages, key=lambda message: (message["partition"], message["offset"]))


def payload_bytes(text):
    """The very bytes of a key or payload that kcat_read returned."""
    return None if text is None else text.encode(errors="surrogateescape")


def kcat_consume(kafka, topic, count=None, deadline=30):
    """As kcat_read; with `count`, asks until there are at least so many, and fails if there are not in time."""
    if count is None:
        return kcat_read(kafka, topic)
    messages = []

    def enough():
        messages[:] = kcat_read(kafka, topic)
        return len(messages) >= count

    wait_for(enough, deadline, lambda: f"{count} messages in {topic}, there are {len(messages)}")
    return messages


# --- Penstock ---------------------------------------------------------------------------------------------------------

def penstock_path():
    path = BUILD_DIR / "penstock"
    if not path.exists():
        raise Missing(f"{path} is missing: build it first")
    return path


def penstock(*args, check=True, timeout=60, env=None, input=None):
    """Runs a command of the command line to its end."""
    return run([penstock_path(), *args], check=check, timeout=timeout, env=env, input=input)


class Penstock:
    """`penstock serve|worker|dev ...` with a configuration file of its own.

    settings: {"section": {"name": value}}. The directory stays over restarts."""

    def __init__(self, role, settings, *args, env=None):
        self.dir = temp_dir(f"penstock-{role}")
        self.config_path = self.dir / "penstock.ini"
        self.env = {**os.environ, **(env or {})}
        # A server of its own only where a test asks for one: many run at a time.
        settings = {"http": {"listen": ""}, **settings} if role == "serve" else settings
        lines = []
        for section, values in settings.items():
            lines.append(f"[{section}]")
            lines += [f"{name} = {value}" for name, value in values.items()]
        self.config_path.write_text("\n".join(lines) + "\n")
        self.argv = [penstock_path(), role, "--config", self.config_path, *args]
        self.start()

    def start(self):
        self.process = Process(self.argv, self.dir / "penstock.log", env=self.env, cwd=self.dir)

    def wait_log(self, pattern, deadline=30):
        """Waits until its log matches the regular expression; returns the match. That it ends meanwhile is a failure."""
        def found():
            alive = self.process.alive()  # asked first: its last words may be the ones waited for
            match = re.search(pattern, self.process.log(), re.MULTILINE)
            if not match and not alive:
                raise AssertionError(f"{' '.join(self.process.argv)} ended with {self.process.wait()}:\n{self.log()}")
            return match
        return wait_for(found, deadline, lambda: f"{pattern!r} in the log:\n{self.log()}")

    def log(self):
        return self.process.log()

    def alive(self):
        return self.process.alive()

    def terminate(self, timeout=30):
        return self.process.terminate(timeout)

    def kill9(self):
        self.process.kill9()

    def restart(self):
        self.kill9()
        self.start()


# --- running the tests ------------------------------------------------------------------------------------------------

class _Result(unittest.TextTestResult):
    """Counts what really ran, and shows the logs of what was running when a test failed."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.succeeded = 0

    def addSuccess(self, test):
        super().addSuccess(test)
        self.succeeded += 1

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._show_logs()

    def addError(self, test, err):
        super().addError(test, err)
        self._show_logs()

    def _show_logs(self):
        for process in _running:
            tail = process.log().splitlines()[-30:]
            self.stream.writeln(f"--- {' '.join(process.argv)} (pid {process.pid})")
            for line in tail:
                self.stream.writeln(f"    {line}")


def main():
    """Runs the tests of the calling file. Exit codes: 0, 1 a failure or no test at all, 77 everything was skipped."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that atexit has its turn
    program = unittest.main(module="__main__", exit=False, verbosity=2,
                            testRunner=unittest.TextTestRunner(verbosity=2, resultclass=_Result))
    result = program.result
    if not result.wasSuccessful():
        sys.exit(1)
    if result.succeeded == 0:
        for _, reason in result.skipped:
            print(f"SKIP: {reason}", file=sys.stderr)
        sys.exit(EXIT_SKIP if result.skipped else 1)
    sys.exit(0)
