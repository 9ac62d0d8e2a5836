"""schemas/openapi.yaml against the table of routes in src/http/router.c: the same operations, the same roles."""
import os
import pathlib
import re
import unittest

try:
    import yaml
except ImportError:
    print("skipped: python3-yaml is missing")
    raise SystemExit(77)

ROOT = pathlib.Path(os.environ.get("PENSTOCK_SOURCE_DIR", pathlib.Path(__file__).parents[2]))
PAGES = {("GET", "/"), ("GET", "/web/{file}")}  # the dashboard: no interface


def routes():
    """(method, path) to role, as the table has them."""
    text = (ROOT / "src/http/router.c").read_text()
    return {(method, path): role for method, path, role in re.findall(r'ROUTE\((\w+), "([^"]+)", (\w+),', text)}


def operations():
    """(method, path) to what the description says of it."""
    document = yaml.safe_load((ROOT / "schemas/openapi.yaml").read_text())
    return {(method.upper(), path): operation for path, item in document["paths"].items()
            for method, operation in item.items() if method in ("get", "post", "delete", "put", "patch")}


class OpenApi(unittest.TestCase):
    def test_every_route_is_described_and_everything_described_is_routed(self):
        self.assertGreater(len(routes()), 20)
        self.assertEqual(sorted(set(routes()) - PAGES), sorted(operations()))

    def test_roles_are_those_of_the_description(self):
        for route, operation in operations().items():
            with self.subTest(route=route):
                role = routes()[route]
                if role == "ANYBODY":
                    self.assertEqual(operation.get("security"), [{}])
                else:
                    self.assertIn(f"Role `{role.lower()}`", operation["description"])

    def test_operations_have_names_of_their_own(self):
        names = [operation["operationId"] for operation in operations().values()]
        self.assertEqual(len(names), len(set(names)))


if __name__ == "__main__":
    unittest.main(verbosity=2)
