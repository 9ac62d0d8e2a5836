"""penstock top: on a terminal, which it must give back however it ends, and in a pipe."""
import json
import os
import signal
import subprocess
import unittest

import flow
import penstock_test as pt
import terminal


def setUpModule():
    global env, redis_pid
    pt.need_program("redis-server", "redis-server")
    folder = pt.temp_dir("top")
    env = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_CONFIG") and name != "NO_COLOR"}
    env.update(XDG_RUNTIME_DIR=str(folder), TERM="xterm-256color")
    dev = pt.Process([pt.penstock_path(), "dev", "-s", f"models.repository={flow.MODELS}"], folder / "dev.log", env=env, cwd=folder)
    unittest.addModuleCleanup(dev.terminate)
    pt.wait_for(lambda: "is ready" in dev.log(), 60, lambda: f"dev is ready:\n{dev.log()}")
    (redis_pid,) = [pid for pid in flow.children(dev.pid) if "redis-server" in open(f"/proc/{pid}/cmdline").read()]
    cli("submit", "--model", "echo", "--count", "20", "--wait")
    cli("submit", "--model", "echo", "--job-id", "bad", "--param", "fake_fail=invalid_input", "--wait", code=1)
    cli("submit", "--model", "solo", "--job-id", "slow", "--param", "fake_latency_ms=600000")
    pt.wait_for(lambda: look()["states"]["running"] == 1, 30, "slow runs")
    cli("submit", "--model", "solo", "--count", "7")
    pt.wait_for(lambda: look()["states"]["queued"] == 7, 30, "seven wait")


def cli(*args, code=0):
    done = pt.penstock(*args, check=False, env=env)
    assert done.returncode == code, f"{args}:\n{done.stdout}{done.stderr}"
    assert not flow.sanitizer_reports(done.stderr), done.stderr
    return done.stdout


def look():
    return json.loads(cli("top", "--once", "--json"))


def waits_for_a_socket(pid):
    """Is the first argument of the system call in which it stands a socket?"""
    with open(f"/proc/{pid}/syscall", encoding="ascii") as call:
        words = call.read().split()
    try:
        return len(words) > 1 and os.readlink(f"/proc/{pid}/fd/{int(words[1], 16)}").startswith("socket:")
    except FileNotFoundError:
        return False


class Terminal(unittest.TestCase):
    def top(self, *args, columns=110, rows=30, **more):
        term = terminal.Terminal([pt.penstock_path(), "top", *args], {**env, **more}, columns, rows)
        self.addCleanup(term.close)
        term.wait(lambda: "WORKER" in term.page())
        return term

    def ended(self, term, code=0):
        self.assertEqual(term.end(), code, term.output[-2000:])
        self.assertTrue(term.is_as_before(), repr(term.output[-200:]))
        self.assertEqual(flow.sanitizer_reports(term.output), "")

    def test_page_shows_what_waits_who_works_and_on_what(self):
        term = self.top()
        self.assertRegex(term.page(), r"(?m)^jobs +7 queued, 1 running, 20 completed, 1 failed, 0 cancelled$")
        self.assertRegex(term.page(), r"(?m)^solo +7 +7 +\d.* 1 +open")
        self.assertRegex(term.page(), r"(?m)^\S+ .* 1 +solo, for [\d.]+ .*slow$")
        self.assertRegex(term.page(), r"(?m)^per s +\d+\.\d completed, ")
        term.press("q")
        self.ended(term)

    def test_page_is_drawn_again_by_itself_and_at_the_space_bar(self):
        term = self.top("--interval", "100")
        pages = term.output.count("\033[H")
        term.wait(lambda: term.output.count("\033[H") >= pages + 3)
        term.press("q")
        self.ended(term)
        term = self.top("--interval", "3600000")
        before = term.output.count("\033[H")
        term.press(" ")
        term.wait(lambda: term.output.count("\033[H") > before)
        term.press("\033[A")  # an arrow is no command
        term.press("Q")
        self.ended(term)

    def test_every_size_gets_a_page_that_fits(self):
        term = self.top("--interval", "3600000")
        for columns, rows in ((40, 12), (20, 6), (1, 1), (200, 60)):
            before = term.output.count("\033[H")
            term.resize(columns, rows)
            term.wait(lambda: term.output.count("\033[H") > before and term.output.rfind("\033[J") > term.output.rfind("\033[H"))
            lines = term.page().split("\n")
            self.assertLessEqual(len(lines), rows, term.page())
            self.assertLessEqual(max(map(len, lines)), columns, term.page())
        self.assertIn("slow", term.page())
        term.press("q")
        self.ended(term)

    def test_signals_give_the_terminal_back(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            with self.subTest(number):
                term = self.top()
                term.signal(number)
                self.ended(term)
        term = self.top()
        term.press("\x03")
        self.ended(term)

    def test_suspended_it_leaves_the_terminal_alone_and_comes_back(self):
        term = self.top("--interval", "100")
        term.signal(signal.SIGTSTP)
        term.wait(lambda: term.stopped() and term.is_as_before())
        entered = term.output.count(terminal.ENTER)
        term.signal(signal.SIGCONT)
        term.wait(lambda: term.output.count(terminal.ENTER) > entered and "WORKER" in term.page())
        term.press("q")
        self.ended(term)

    def test_redis_that_stops_answering_is_told_and_ends_nothing(self):
        term = self.top("--interval", "100", "-s", "store.timeout_ms=500")
        flow.stop_process(redis_pid)
        try:
            term.wait(lambda: "not current: redis" in term.page())
            self.assertIn("solo", term.page())
        finally:
            os.kill(redis_pid, signal.SIGCONT)
        term.wait(lambda: "not current" not in term.page())
        term.press("q")
        self.ended(term)

    def test_second_signal_ends_one_that_waits_for_redis_and_gives_the_terminal_back(self):
        term = self.top("--interval", "100", "-s", "store.timeout_ms=60000")
        flow.stop_process(redis_pid)
        try:
            term.wait(lambda: waits_for_a_socket(term.pid))
            term.signal(signal.SIGINT)
            term.signal(signal.SIGTERM)
            self.assertIn(term.end(), (128 + signal.SIGINT, 128 + signal.SIGTERM))  # in whatever order they come
            self.assertTrue(term.is_as_before(), repr(term.output[-200:]))
        finally:
            os.kill(redis_pid, signal.SIGCONT)

    def test_colours_are_left_out_when_asked(self):
        term = self.top()
        self.assertRegex(term.output, r"\033\[3\dm")
        term.press("q")
        self.ended(term)
        term = self.top(NO_COLOR="1")
        self.assertNotRegex(term.output, r"\033\[3\dm")
        term.press("q")
        self.ended(term)

    def test_dumb_terminal_gets_plain_text(self):
        term = terminal.Terminal([pt.penstock_path(), "top", "--interval", "100"], {**env, "TERM": "dumb"})
        self.addCleanup(term.close)
        term.wait(lambda: term.output.count("WORKER") >= 2)
        self.assertNotIn("\033", term.output)
        term.signal(signal.SIGINT)
        self.assertEqual(term.end(), 0)


class Pipe(unittest.TestCase):
    def test_once_is_plain_text(self):
        text = cli("top", "--once")
        self.assertNotIn("\033", text)
        self.assertRegex(text, r"(?m)^jobs +7 queued, 1 running, 20 completed, 1 failed, 0 cancelled$")
        self.assertRegex(text, r"(?m)^solo +7")

    def test_json_has_what_the_text_has(self):
        seen = look()
        self.assertEqual(seen["states"], {"queued": 7, "running": 1, "completed": 20, "failed": 1, "cancelled": 0})
        self.assertEqual(set(seen["per_second"]), {"completed", "failed", "cancelled"})
        self.assertEqual(seen["queues"][0]["model"], "solo")
        (worker,) = seen["workers"]
        self.assertEqual((worker["jobs"], worker["held"]), (["slow"], 1))

    def test_pipe_gets_one_look_after_the_other_until_it_is_closed(self):
        top = subprocess.Popen([pt.penstock_path(), "top", "--json", "--interval", "100"], env=env, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
        looks = [json.loads(top.stdout.readline()) for _ in range(3)]
        self.assertLess(looks[0]["at"], looks[2]["at"])
        top.stdout.close()
        self.assertEqual(top.wait(30), -signal.SIGPIPE)
        self.assertEqual(top.stderr.read(), "")
        top.stderr.close()

    def test_wrong_use_is_2_and_no_redis_is_3(self):
        cli("top", "--interval", "5", code=2)
        cli("top", "now", code=2)
        cli("top", "--once", "-s", f"store.url=redis://127.0.0.1:{pt.free_port()}", code=3)


if __name__ == "__main__":
    pt.main()
