#!/usr/bin/python3
"""What the documents say, checked against what is there: files, errors, transitions, operators, commands, links."""
import os
import pathlib
import re
import subprocess
import unittest

ROOT = pathlib.Path(os.environ.get("PENSTOCK_SOURCE_DIR") or pathlib.Path(__file__).resolve().parents[2])
BUILD = pathlib.Path(os.environ.get("PENSTOCK_BUILD_DIR") or ROOT / "build/debug")

README = ROOT / "README.md"
DOCUMENTS = [README, ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def rows_under(path, heading):
    """The cells of the first table under `heading`, without its head."""
    section = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", path.read_text(), re.M | re.S)
    assert section, f"{path.name} has no section '{heading}'"
    table = re.search(r"^\|.*\n(?:\|.*(?:\n|\Z))+", section[1], re.M)
    assert table, f"{path.name} has no table under '{heading}'"
    lines = table[0].splitlines()
    return [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def code(cell):
    return cell.strip("`")


def anchors(path):
    """Headings as GitHub makes anchors of them."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.M | re.S)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", text, re.M)}


class Architecture(unittest.TestCase):
    def test_every_source_file_is_listed_and_nothing_else(self):
        there = {
            p.relative_to(ROOT).as_posix()
            for top in ("src", "include")
            for p in (ROOT / top).rglob("*")
            if p.suffix in (".c", ".h", ".lua", ".cu", ".cuh", ".cpp", ".js", ".css", ".html", ".bash", ".zsh", ".fish")
        }
        listed = re.findall(r"^\| `((?:src|include)/[^`]+)` \| \S", (ROOT / "docs/architecture.md").read_text(), re.M)
        self.assertEqual(sorted(set(listed)), sorted(listed), "listed twice")
        self.assertEqual(sorted(listed), sorted(there))


class Protocol(unittest.TestCase):
    def test_errors_are_those_of_the_table_in_err_h(self):
        text = (ROOT / "include/penstock/err.h").read_text().replace("\\\n", " ")
        row = r'X\(ERR_\w+, "(\w+)", (\w+), (true|false), (\d+), *((?:"(?:[^"\\]|\\.)*"\s*)+)\)'
        table = []
        for word, err_class, retryable, status, hint in re.findall(row, text):
            hint = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', hint)).replace('\\"', '"')
            table.append([word, err_class.lower(), "yes" if retryable == "true" else "no", status, hint])
        self.assertGreater(len(table), 30)
        documented = [[code(r[0]), *r[1:5]] for r in rows_under(ROOT / "docs/protocol.md", "Errors")]
        self.assertEqual(documented, table)

    def test_transitions_are_those_of_job_c(self):
        text = (ROOT / "src/job/job.c").read_text()
        body = re.search(r"job_transition_table\[\] = \{(.*?)\n\};", text, re.S)[1]
        table = [
            [a.lower(), b.lower(), by]
            for a, b, by in re.findall(r'\{JOB_STATE_(\w+),\s*JOB_STATE_(\w+),\s*"([^"]*)"\}', body)
        ]
        self.assertEqual(len(table), body.count("{"))
        documented = [[code(a), code(b), by] for a, b, by in rows_under(ROOT / "docs/protocol.md", "Transitions")]
        self.assertEqual(documented, table)

    def test_error_codes_in_the_troubleshooting_table_exist(self):
        words = set(re.findall(r'X\(ERR_\w+, "(\w+)"', (ROOT / "include/penstock/err.h").read_text()))
        named = [code(r[0]) for r in rows_under(ROOT / "docs/operations.md", "Troubleshooting")]
        self.assertTrue(named)
        self.assertEqual([w for w in named if w not in words], [])


class Reliability(unittest.TestCase):
    def test_every_test_that_it_names_is_there(self):
        named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/reliability.md").read_text()))
        self.assertGreater(len(named), 50)
        tests = [path.read_text() for path in (ROOT / "tests").rglob("*") if path.suffix in (".c", ".py")]
        defined = {name for text in tests for name in re.findall(r"(?:def|static void) (test_\w+)\(", text)}
        self.assertEqual(sorted(named - defined), [])


class Readme(unittest.TestCase):
    def setUp(self):
        self.text = README.read_text()

    def test_it_names_the_two_scripts(self):
        for script in ("./scripts/quickstart", "./scripts/test"):
            self.assertRegex(self.text, re.escape(script) + r"(?!\w)")
            self.assertTrue(os.access(ROOT / script, os.X_OK), script)

    def test_its_operators_are_those_of_the_cpu_executor(self):
        table = re.findall(r'^    \{"(\w+)",', (ROOT / "src/onnx/cpu/ops.c").read_text(), re.M)
        listed = re.search(r"<!-- operators -->\n(.*?)\n<!-- -->", self.text, re.S)[1]
        self.assertEqual(re.findall(r"\w+", listed), table)

    def test_its_table_of_commands_is_what_help_lists(self):
        # (a command is named in code, so that prose such as "penstock feeds" does not count)
        table = [code(r[0]).split()[1] for r in rows_under(README, "Commands")]
        self.assertEqual(sorted(table), sorted(commands()))

    def test_every_command_in_code_exists(self):
        known = commands()
        for path in DOCUMENTS:
            text = path.read_text()
            in_code = re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S) + re.findall(r"`(penstock [^`]*)`", text)
            for piece in in_code:
                for name in re.findall(r"(?:^|[ /])penstock ([a-z]+(?:-[a-z]+)*)(?![\w@-])", piece, re.M):
                    with self.subTest(document=path.name, command=name):
                        self.assertIn(name, known)


class Links(unittest.TestCase):
    def test_every_relative_link_leads_somewhere(self):
        for path in DOCUMENTS:
            for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
                if re.match(r"[a-z]+:", target):
                    continue
                name, _, anchor = target.partition("#")
                to = (path.parent / name).resolve() if name else path
                with self.subTest(document=path.name, link=target):
                    self.assertTrue(to.exists())
                    if anchor:
                        self.assertIn(anchor, anchors(to))


def commands():
    out = subprocess.run([BUILD / "penstock", "--help"], check=True, capture_output=True, text=True).stdout
    section = out.split("Commands:\n")[1].split("\n\n")[0]
    return [line.split()[0] for line in section.splitlines()]


if __name__ == "__main__":
    unittest.main()
