#!/usr/bin/python3
"""The shells' completion, in the real shells; the manual pages, through their checkers; what --help says of both.

bash and zsh complete only on a terminal, so they get one; fish can be asked. No server is needed: what must be looked up
comes from a model repository."""
import functools
import os
import pathlib
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(os.environ.get("PENSTOCK_SOURCE_DIR") or pathlib.Path(__file__).resolve().parents[2])
BUILD = pathlib.Path(os.environ.get("PENSTOCK_BUILD_DIR") or ROOT / "build/debug").resolve()
PENSTOCK = BUILD / "penstock"
DEADLINE = 60
SKIPPED = []


def output(*args, **kwargs):
    return subprocess.run([str(a) for a in args], check=True, capture_output=True, text=True, timeout=DEADLINE, **kwargs).stdout


@functools.cache
def options_of(command):
    return re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", output(PENSTOCK, command, "--help"), re.M)


@functools.cache
def commands():
    section = output(PENSTOCK, "--help").split("Commands:\n")[1].split("\n\n")[0]
    return [line.split()[0] for line in section.splitlines()]


def need(program, package):
    if not shutil.which(program):
        SKIPPED.append(f"{program} is missing (Debian package {package})")
        raise unittest.SkipTest(SKIPPED[-1])


class Folder(unittest.TestCase):
    """A folder with a model repository and a configuration that names it; nobody's dev instance."""

    @classmethod
    def setUpClass(cls):
        cls.temp = tempfile.TemporaryDirectory(prefix="penstock-line-")
        cls.dir = pathlib.Path(cls.temp.name)
        cls.addClassCleanup(cls.temp.cleanup)
        for model in ("digits-a", "digits-b", "echo"):
            (cls.dir / "models" / model).mkdir(parents=True)
            (cls.dir / "models" / model / "config.json").write_text('{"backend": "fake"}')
        (cls.dir / "only.jsonl").write_text("")
        config = cls.dir / "penstock.ini"
        config.write_text(f"[models]\nrepository = {cls.dir}/models\n")
        cls.env = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        cls.env |= {"PENSTOCK_CONFIG": str(config), "HOME": str(cls.dir), "XDG_RUNTIME_DIR": str(cls.dir), "TERM": "vt100",
                    "PATH": f"{BUILD}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}

    def words(self, *words):
        """The candidates, without their descriptions."""
        out = output(PENSTOCK, "completion", "--words", "--", *words, env=self.env, cwd=self.dir)
        return [line.split("\t")[0] for line in out.splitlines()]


class Words(Folder):
    def test_the_first_word_is_a_command(self):
        self.assertEqual(self.words(""), commands())
        self.assertEqual(self.words("sub"), ["submit"])
        self.assertEqual(self.words("--"), ["--help", "--version"])

    def test_every_option_of_help_is_offered_and_nothing_else(self):
        for command in commands():
            with self.subTest(command):
                self.assertEqual(self.words(command, "--"), options_of(command))

    def test_values_follow_their_option_apart_or_behind_an_equals_sign(self):
        states = ["queued", "running", "completed", "failed", "cancelled"]
        self.assertEqual(self.words("list", "--state", ""), states)
        self.assertEqual(self.words("list", "--state="), [f"--state={state}" for state in states])
        self.assertEqual(self.words("list", "--state", "failed", "--color", "a"), ["auto", "always"])
        self.assertEqual(self.words("list", "--limit", ""), [])

    def test_models_are_those_of_the_repository(self):
        self.assertEqual(self.words("submit", "--model", ""), ["digits-a", "digits-b", "echo"])
        self.assertEqual(self.words("pause", "digits"), ["digits-a", "digits-b"])
        other = self.dir / "other.ini"
        other.write_text(f"[models]\nrepository = {ROOT}/models\n")
        self.assertEqual(self.words("pause", "-c", str(other), "dig"), ["digits"])

    def test_settings_complete_to_their_names_and_words(self):
        self.assertIn("worker.lease_ms=", self.words("config", "-s", ""))
        self.assertEqual(self.words("config", "-s", "log.for"), ["log.format="])
        self.assertEqual(self.words("config", "-s", "log.format="), ["log.format=text", "log.format=json"])
        self.assertEqual(self.words("config", "--set=log.format=j"), ["--set=log.format=json"])
        self.assertEqual(self.words("config", "-s", "worker.count="), [])

    def test_paths_are_left_to_the_shell(self):
        self.assertEqual(self.words("submit", ""), [":files"])
        self.assertEqual(self.words("models", "--repository", ""), [":folders"])
        self.assertEqual(self.words("submit", "--", "-"), [":files"])

    def test_what_is_not_known_offers_nothing_and_is_no_error(self):
        self.assertEqual(self.words("nonsense", ""), [])
        self.assertEqual(self.words("list", "--nonsense=x"), [])
        self.assertEqual(self.words("get", ""), [])  # no Redis at that address
        self.assertEqual(self.words("pause", "-s", "models.repository=/nonexistent", ""), [])


class Shells(Folder):
    """A line is typed, Tab is pressed, and the line that came of it is printed by the shell itself."""

    CASES = [("penstock sub", "penstock submit "), ("penstock submit --prio", "penstock submit --priority "),
             ("penstock list --state fa", "penstock list --state failed "),
             ("penstock list --state=fa", "penstock list --state=failed "),
             ("penstock submit --model ech", "penstock submit --model echo "),
             ("penstock submit on", "penstock submit only.jsonl "),
             ("penstock config -s log.form", "penstock config -s log.format="),
             ("penstock config -s log.format=te", "penstock config -s log.format=text "),
             ("penstock models --repository mod", "penstock models --repository models/")]

    def setUp(self):
        self.master = None

    def tearDown(self):
        if self.master is not None:
            os.close(self.master)  # the shell gets SIGHUP
            os.waitpid(self.pid, 0)

    def start(self, argv, setup, prompt):
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.chdir(self.dir)
            os.execvpe(argv[0], argv, {**self.env, "PS1": prompt})
        self.screen = ""
        self.type(f"{setup}; echo rea''dy\n")
        self.read_until(r"ready\r?\n")

    def type(self, text):
        os.write(self.master, text.encode())

    def read_until(self, pattern):
        end = time.monotonic() + DEADLINE
        while not (found := re.search(pattern, self.screen)):
            if not select.select([self.master], [], [], max(0, end - time.monotonic()))[0]:
                self.fail(f"{pattern} does not come:\n{self.screen!r}")
            self.screen += os.read(self.master, 65536).decode(errors="replace")
        self.screen = self.screen[found.end():]
        return found

    def complete(self, line):
        # Ctrl-A, Ctrl-E: the line becomes the argument of an echo. The mark is made of two pieces, so that only what the
        # shell prints matches, not its echo of what was typed.
        self.type(f"{line}\t\x01printf '%s[%s]\\n' ma''rk '\x05'\n")
        return self.read_until(r"mark\[(.*?)\]\r?\n")[1]

    def check(self, suffix=""):
        """`suffix`: what the shell takes away again when something is typed behind it."""
        for line, expected in self.CASES:
            with self.subTest(line):
                self.assertEqual(self.complete(line), expected.rstrip(suffix))

    def test_bash(self):
        need("bash", "bash")
        self.start(["bash", "--norc", "--noprofile", "-i"], "bind 'set bell-style none'; source <(penstock completion bash)", "$ ")
        self.check()

    def test_zsh(self):
        need("zsh", "zsh")
        self.start(["zsh", "-f", "-i"], "autoload -U compinit; compinit -u -D; source <(penstock completion zsh)", "% ")
        self.check(" /")

    def test_zsh_finds_the_installed_function(self):
        need("zsh", "zsh")
        folder = self.dir / "functions"
        folder.mkdir()
        (folder / "_penstock").write_text(output(PENSTOCK, "completion", "zsh"))
        self.start(["zsh", "-f", "-i"], f"fpath=({folder} $fpath); autoload -U compinit; compinit -u -D", "% ")
        self.assertEqual(self.complete("penstock sub"), "penstock submit")

    def test_fish(self):
        need("fish", "fish")
        script = self.dir / "penstock.fish"
        script.write_text(output(PENSTOCK, "completion", "fish"))
        questions = "; ".join(f"complete -C '{line}'; echo end" for line, _ in self.CASES)
        out = output("fish", "--no-config", "-c", f"source {script}; {questions}", env=self.env, cwd=self.dir)
        found = [[line.split("\t")[0] for line in part.splitlines()] for part in out.split("end\n")[:-1]]
        self.assertEqual(found, [[expected.split()[-1]] for _, expected in self.CASES])


class Manual(unittest.TestCase):
    def page(self, name):
        return (BUILD / "man" / name).read_text()

    def test_the_build_writes_a_page_for_every_command(self):
        pages = ["penstock.1", "penstock.conf.5", *(f"penstock-{command}.1" for command in commands())]
        self.assertEqual(sorted(p.name for p in (BUILD / "man").iterdir()), sorted(pages))
        self.assertEqual(self.page("penstock.1"), output(PENSTOCK, "help", "--man"))
        self.assertEqual(self.page("penstock-submit.1"), output(PENSTOCK, "help", "--man", "submit"))
        self.assertEqual(self.page("penstock.conf.5"), output(PENSTOCK, "config", "--man"))

    def test_pages_have_every_option_and_setting(self):
        for command in commands():
            for option in options_of(command):
                self.assertIn(option.replace("-", r"\-"), self.page(f"penstock-{command}.1"), command)
        table = re.findall(r"^    [A-Z]+\(\s*\"\w+\.(\w+)\", ", (ROOT / "src/config/table.c").read_text(), re.M)
        self.assertGreater(len(table), 30)
        self.assertEqual(re.findall(r"^\.TP\n\.B (\S+)", self.page("penstock.conf.5"), re.M)[: len(table)], table)

    def test_groff_has_no_complaint(self):
        need("man", "man-db")
        need("groff", "groff-base")
        env = {**os.environ, "LC_ALL": "C.UTF-8", "MANROFFSEQ": "", "MANWIDTH": "80"}
        done = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-Tutf8", "-Z", "-l", *sorted((BUILD / "man").iterdir())],
                              text=True, capture_output=True, timeout=DEADLINE, env=env)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_mandoc_has_no_complaint(self):
        need("mandoc", "mandoc")
        done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", *sorted((BUILD / "man").iterdir())], text=True,
                              capture_output=True, timeout=DEADLINE)
        # a page of each build has no date
        self.assertEqual([line for line in done.stdout.splitlines() if "missing date" not in line], [])


class Questions(unittest.TestCase):
    def test_version_in_words_and_in_json(self):
        self.assertRegex(output(PENSTOCK, "--version"), r"^penstock \d+\.\d+\.\d+\n$")
        for args in (["--version", "--json"], ["--json", "--version"], ["version", "--json"]):
            self.assertRegex(output(PENSTOCK, *args), r'^\{"version":"\d+\.\d+\.\d+"\}\n$')

    def refused(self, *args):
        done = subprocess.run([PENSTOCK, *args], capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout), (2, ""), args)
        return done.stderr

    def test_what_is_nearly_a_command_or_an_option_is_recognised(self):
        self.assertIn("did you mean 'submit'", self.refused("sumbit"))
        self.assertIn("did you mean '--state'", self.refused("list", "--sate", "failed"))
        self.assertIn("did you mean 'events'", self.refused("help", "event"))
        self.assertIn("the command comes first", self.refused("-q", "list"))
        self.assertIn("auto, always, never", self.refused("list", "--color", "blue"))
        self.assertIn("bash", self.refused("completion", "csh"))


if __name__ == "__main__":
    program = unittest.main(verbosity=2, exit=False)
    if not program.result.wasSuccessful():
        sys.exit(1)
    for reason in sorted(set(SKIPPED)):
        print(f"SKIP: {reason}", file=sys.stderr)
    sys.exit(77 if SKIPPED else 0)
