#!/usr/bin/python3
"""Prometheus' rules and Grafana's dashboard: well-formed, each alert fires and has its section in operations.md, and no
metric is named that is not documented."""
import json
import os
import pathlib
import re
import subprocess
import sys
import unittest

import yaml

ROOT = pathlib.Path(os.environ.get("PENSTOCK_SOURCE_DIR") or pathlib.Path(__file__).resolve().parents[2])
RULES = ROOT / "deploy/prometheus/penstock.rules.yml"
TESTS = ROOT / "deploy/prometheus/penstock.rules.test.yml"
DASHBOARD = ROOT / "deploy/grafana/penstock.json"
OPERATIONS = ROOT / "docs/operations.md"


def alerts():
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def documented_metrics():
    """Of the table under "Metrics" in operations.md; a histogram with what Prometheus makes of it."""
    section = re.search(r"^### Metrics\n(.*?)^##", OPERATIONS.read_text(), re.M | re.S)[1]
    names = {name: "histogram" in rest for name, rest in re.findall(r"^\| `(penstock_\w+)[^`]*` \|(.*)\|$", section, re.M)}
    return {name + end for name, histogram in names.items() for end in (["_bucket", "_sum", "_count"] if histogram else [""])}


def metrics_in(expression):
    return set(re.findall(r"\bpenstock_\w+", expression))


class Alerts(unittest.TestCase):
    def promtool(self, *args):
        found = subprocess.run([ROOT / "scripts/lib/promtool"], capture_output=True, text=True)
        if found.returncode == 77:
            self.skipTest(found.stderr.strip())
        self.assertEqual(found.returncode, 0, found.stderr)
        done = subprocess.run([found.stdout.strip(), *args], capture_output=True, text=True, cwd=RULES.parent)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_rules_are_well_formed(self):
        self.assertIn(f"{len(alerts())} rules found", self.promtool("check", "rules", RULES.name))

    def test_each_alert_fires_and_none_while_all_is_well(self):
        self.promtool("test", "rules", TESTS.name)
        tested = {test["name"] for test in yaml.safe_load(TESTS.read_text())["tests"]}
        self.assertEqual(tested, {rule["alert"] for rule in alerts()} | {"all is well"})

    def test_each_alert_has_a_section_that_says_what_to_do(self):
        section = re.search(r"^### Alerts\n(.*?)(?=^### |^## )", OPERATIONS.read_text(), re.M | re.S)[1]
        sections = dict(re.findall(r"^#### (\w+)\n+(.*?)(?=^#### |\Z)", section, re.M | re.S))
        self.assertEqual(list(sections), [rule["alert"] for rule in alerts()])
        for rule in alerts():
            with self.subTest(rule["alert"]):
                self.assertGreater(len(sections[rule["alert"]].split()), 15)
                self.assertEqual(rule["annotations"]["runbook"], f"docs/operations.md#{rule['alert'].lower()}")

    def test_rules_and_dashboard_use_documented_metrics_alone(self):
        known = documented_metrics()
        self.assertGreater(len(known), 30)
        for rule in alerts():
            self.assertLessEqual(metrics_in(rule["expr"]), known, rule["alert"])
        shown = set()
        for panel in json.loads(DASHBOARD.read_text())["panels"]:
            for target in panel.get("targets", []):
                shown |= metrics_in(target["expr"])
                self.assertLessEqual(metrics_in(target["expr"]), known, panel["title"])
        self.assertGreater(len(shown), 20)

    def test_dashboard_has_no_two_panels_in_one_place(self):
        places = {}
        panels = json.loads(DASHBOARD.read_text())["panels"]
        self.assertEqual(len({panel["id"] for panel in panels}), len(panels))
        for panel in panels:
            at = panel["gridPos"]
            for x in range(at["x"], at["x"] + at["w"]):
                self.assertLess(x, 24, panel["title"])
                for y in range(at["y"], at["y"] + at["h"]):
                    self.assertNotIn((x, y), places, f"{panel['title']} over {places.get((x, y))}")
                    places[x, y] = panel["title"]


if __name__ == "__main__":
    program = unittest.main(exit=False, verbosity=2)
    if not program.result.wasSuccessful():
        sys.exit(1)
