"""node_tests: tests that are written in JavaScript, as tests of unittest.

    class Modules(node_tests.NodeTests):
        script = "modules.mjs"

        def environment(self):
            return {"PENSTOCK_WEB": ...}

The script prints one line of JSON a test (tests/browser/runner.mjs); each becomes a subtest under its own name.
"""
import json
import os
import re
import subprocess
import unittest

import penstock_test as pt

HERE = pt.SOURCE_DIR / "tests/browser"
NODE_MAJOR = 18


def need_node():
    pt.need_program("node", "nodejs")
    version = pt.run(["node", "--version"]).stdout
    if int(re.match(r"v(\d+)", version)[1]) < NODE_MAJOR:
        raise pt.Missing(f"Node.js {NODE_MAJOR} or newer is needed, node is {version.strip()}")


class NodeTests(unittest.TestCase):
    script = None
    timeout = 1400  # minutes on a loaded machine; some 40 s on an idle one

    def environment(self):
        return {}

    def test_all_of_the_script(self):
        if self.script is None:
            raise unittest.SkipTest("the base of the others")
        need_node()
        env = {**os.environ, **self.environment()}
        child = pt.Process(["node", HERE / self.script], pt.temp_dir("node") / "node.log", env=env)
        try:
            code = child.wait(self.timeout)
        except subprocess.TimeoutExpired:
            child.kill9_group()
            self.fail(f"{self.script} took longer than {self.timeout} s:\n{child.log()}")
        results = [json.loads(line) for line in child.log().splitlines() if line.startswith('{"name"')]
        for result in results:
            word = "skipped" if result["missing"] else "ok" if result["ok"] else "FAILED"
            print(f"{word:7} {result['ms']:6} ms  {result['name']}", flush=True)
            with self.subTest(result["name"]):
                if result["missing"]:
                    self.skipTest(result["missing"])
                self.assertTrue(result["ok"], result["error"])
        self.assertTrue(results, f"no test has run:\n{child.log()}")
        self.assertEqual(code, 0, child.log())
