"""docs/tutorial.md, word for word: its commands are executed as they stand there, and what they print is what it says.

Every ```sh block is executed, those of the second terminal in one shell, one after the other, and each must end with 0. A
```text block behind one is what it prints, apart from what differs each time: numbers, times, names of workers. A line that ends
in ... goes on anyhow. What is executed elsewhere or not at all has another language (```python).
"""
import json
import os
import re
import signal
import unittest

import flow
import penstock_test as pt

TEXT = (pt.SOURCE_DIR / "docs/tutorial.md").read_text()
BLOCK = re.compile(r"^```sh([^\n]*)\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.M | re.S)
MARK = "@@ the block ended with"


def lines_of(text):
    """Without what differs each time."""
    text = re.sub(r"[\w.]+-\d+-[0-9a-f]{8,}-\d+", "WORKER", text)
    text = re.sub(r"\d+(\.\d+)?(e[-+]\d+)?", "#", text)
    text = re.sub(r"# (ms|s|m|h)\b( # (ms|s|m|h)\b)?", "TIME", text)
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


class Tutorial(unittest.TestCase):
    def setUp(self):
        for program, package in (("redis-server", "redis-server"), ("curl", "curl")):
            pt.need_program(program, package)
        if pt.run(["/usr/bin/python3", "-c", "import onnx"], check=False).returncode != 0:
            raise pt.Missing("python3-onnx is missing (Debian package python3-onnx)")
        home = pt.temp_dir("tutorial")
        for name in ("bin", "work", "run"):
            (home / name).mkdir(mode=0o700)
        (home / "bin/penstock").symlink_to(pt.penstock_path())
        self.home, self.work = home, home / "work"
        self.env = {"HOME": str(home), "PATH": f"{home}/bin:/usr/bin:/bin", "XDG_RUNTIME_DIR": str(home / "run"), "LC_ALL": "C.UTF-8",
                    **{name: value for name, value in os.environ.items() if name.endswith("SAN_OPTIONS")}}

    def first_terminal(self, script):
        """Its last command stays; Ctrl-C is for both the shell and it."""
        dev = pt.Process(["/bin/bash", "-c", script], self.home / "dev.log", env=self.env, cwd=self.work)

        def end():
            os.killpg(dev.pid, signal.SIGINT)
            dev.wait()
        self.addCleanup(end)
        pt.wait_for(lambda: "is ready" in dev.log(), 60, dev.log)
        return dev

    def test_every_command_does_and_prints_what_the_tutorial_says(self):
        blocks = BLOCK.findall(TEXT)
        first = [script for info, script, _ in blocks if "terminal=1" in info]
        rest = [(script, expected) for info, script, expected in blocks if "terminal=1" not in info]
        self.assertEqual((len(first), TEXT.count("```sh")), (1, len(blocks)))
        dev = self.first_terminal(first[0])
        script = "".join(f"{block}\nprintf '\\n{MARK} %d\\n' $?\n" for block, _ in rest)
        shell = pt.Process(["/bin/bash", "-c", script], self.home / "shell.log", env=self.env, cwd=self.work)
        try:
            shell.wait(150)
        finally:
            log = shell.log()
            self.assertEqual(flow.sanitizer_reports(log + dev.log()), "")
        parts = re.split(rf"\n{MARK} (\d+)\n", log)
        self.assertEqual(len(parts) // 2, len(rest), log)
        for at, (block, expected) in enumerate(rest):
            with self.subTest(block):
                self.assertEqual(parts[2 * at + 1], "0", parts[2 * at])
                if expected:
                    self.compare(parts[2 * at], expected)
        (result,) = [json.loads(line) for line in log.splitlines() if line.startswith('{"model_name"')][:1]
        self.assertGreater(result["outputs"][0]["data"][0], 0.95)  # "96 % red"

    def compare(self, printed, expected):
        got, wanted = lines_of(printed), lines_of(expected)
        self.assertEqual(len(got), len(wanted), f"printed:\n{printed}\nexpected:\n{expected}")
        for one, other in zip(got, wanted):
            if other.endswith("..."):
                self.assertTrue(one.startswith(other[:-3].rstrip()), f"printed:\n{printed}\nexpected:\n{expected}")
            else:
                self.assertEqual(one, other)


if __name__ == "__main__":
    pt.main()
