"""Progress of `submit` and `wait`: a bar on a terminal, a plain line now and then elsewhere, nothing where it is not wanted."""
import os
import re
import unittest

import flow
import penstock_test as pt
import terminal


def setUpModule():
    global env, folder
    pt.need_program("redis-server", "redis-server")
    folder = pt.temp_dir("progress")
    env = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_CONFIG")}
    env.update(XDG_RUNTIME_DIR=str(folder), TERM="xterm-256color")
    dev = pt.Process([pt.penstock_path(), "dev", "-s", f"models.repository={flow.MODELS}"], folder / "dev.log", env=env, cwd=folder)
    unittest.addModuleCleanup(dev.terminate)
    pt.wait_for(lambda: "is ready" in dev.log(), 60, lambda: f"dev is ready:\n{dev.log()}")


def cli(*args):
    return pt.penstock(*args, env=env)


class Progress(unittest.TestCase):
    def on_terminal(self, *args, **more):
        size = {name: more.pop(name) for name in ("columns", "rows") if name in more}
        term = terminal.Terminal([pt.penstock_path(), *args], {**env, **more}, **size)
        self.addCleanup(term.close)
        return term

    def test_bar_has_counts_rate_and_time_left_and_is_gone_at_the_end(self):
        ids = cli("submit", "--model", "solo", "--param", "fake_latency_ms=300", "--count", "12").stdout.split()
        term = self.on_terminal("wait", *ids, columns=100)
        term.wait(lambda: re.search(r"\r\[#+ *\] \d+/12 ended, [\d.]+/s, [\d.]+ m?s left\033\[K", term.output))
        self.assertEqual(term.end(), 0)
        lines = re.split(r"[\r\n]+", term.output.replace("\033[K", ""))
        self.assertEqual(sum(1 for line in lines if re.match(r"\S+  \S*completed", line)), 12, term.output)
        self.assertNotIn("/12 ended", term.output.rsplit("\033[K", 1)[-1])

    def test_submit_with_wait_shows_it_too_and_tells_of_failures(self):
        term = self.on_terminal("submit", "--model", "solo", "--param", "fake_latency_ms=300", "--param", "fake_fail=invalid_input",
                                "--count", "8", "--wait", columns=100)
        term.wait(lambda: re.search(r"\d/8 ended, \d failed, [\d.]+/s", term.output))
        self.assertEqual(term.end(), 1)

    def test_narrow_terminal_gets_no_line_that_breaks(self):
        term = self.on_terminal("submit", "--model", "solo", "--param", "fake_latency_ms=300", "--count", "8", "--wait", columns=30)
        term.wait(lambda: "8/8" in term.output or re.search(r"\d/8 ended, [\d.]+/s", term.output))
        self.assertEqual(term.end(), 0)
        bars = [bar for bar in re.findall(r"\r([^\r\n]*)\033\[K", term.output) if bar]
        self.assertTrue(bars)
        self.assertLess(max(map(len, bars)), 30, bars)

    def test_quiet_and_dumb_terminals_get_no_bar(self):
        for args, more in ((["-q"], {}), ([], {"TERM": "dumb"})):
            term = self.on_terminal("submit", "--model", "solo", "--param", "fake_latency_ms=300", "--count", "3", "--wait", *args, **more)
            self.assertEqual(term.end(), 0)
            self.assertNotIn("/3 ended", term.output)

    def test_whoever_waits_for_a_refused_job_is_told_where_to_look(self):
        args = [pt.penstock_path(), "submit", "--model", "gone", "--job-id", "refused-1", "--wait"]
        waiting = pt.Process(args, folder / "refused.log", env=env)
        pt.wait_for(lambda: "1 of the jobs have no record yet" in waiting.log(), 30, waiting.log)
        waiting.kill9()
        self.assertIn("refused-1", cli("events", "--from-beginning", "--state", "rejected").stdout)
        done = pt.penstock("wait", "refused-1", "--timeout", "200", check=False, env=env)
        self.assertEqual(done.returncode, 5)
        self.assertIn("--state rejected", done.stderr)

    def test_where_no_terminal_is_a_line_comes_now_and_then(self):
        cli("submit", "--model", "echo", "--job-id", "later", "--not-before", "2999-01-01T00:00:00Z")
        args = [pt.penstock_path(), "wait", "later"]
        silent = [pt.Process([*args, option], folder / f"plain{option}.log", env=env) for option in ("-q", "--json")]
        plain = pt.Process(args, folder / "plain.log", env=env)
        pt.wait_for(lambda: plain.log() == "0/1 ended\n", 60, plain.log)  # by then the others would have said it, too
        self.assertEqual([process.log() for process in silent], ["", ""])
        cli("cancel", "later")
        self.assertEqual([process.wait() for process in (plain, *silent)], [1, 1, 1])


if __name__ == "__main__":
    pt.main()
