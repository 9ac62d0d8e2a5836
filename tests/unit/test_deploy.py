#!/usr/bin/python3
"""What deploy/ and docker-compose.yml tell penstock, as penstock takes it: settings by their environment names, and the example
configuration with every line of it in force."""
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

import yaml

ROOT = pathlib.Path(os.environ.get("PENSTOCK_SOURCE_DIR") or pathlib.Path(__file__).resolve().parents[2])
BUILD = pathlib.Path(os.environ.get("PENSTOCK_BUILD_DIR") or ROOT / "build/debug")


def config(*args, **env):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    return subprocess.run([BUILD / "penstock", "config", *args], capture_output=True, text=True, env={**clean, **env})


class Settings(unittest.TestCase):
    def test_environment_of_the_containers_is_taken(self):
        image = dict(re.findall(r"(?<!-D)\b(PENSTOCK_\w+)=(\S+)", (ROOT / "deploy/Containerfile").read_text()))
        services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
        for name in ("penstock", "worker-gpu"):
            env = {**image, **services[name]["environment"]}
            self.assertGreater(len(env), 5)
            with self.subTest(name):
                done = config(**env)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                for value in env.values():
                    self.assertIn(value, done.stdout)

    def test_example_configuration_is_taken_with_all_that_it_only_mentions(self):
        text = (ROOT / "deploy/penstock.ini").read_text()
        everything = re.sub(r"^;(?=[\w.]+ = )", "", text, flags=re.M)
        self.assertGreater(len(re.findall(r"^[\w.]+ = ", everything, re.M)), 15)
        for content in (text, everything):
            with tempfile.NamedTemporaryFile("w", suffix=".ini") as file:
                # secrets in files that are not here
                file.write(re.sub(r"^[\w.]*password_file = .*", "", content, flags=re.M))
                file.flush()
                done = config("-c", file.name)
                self.assertEqual((done.returncode, done.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main()
