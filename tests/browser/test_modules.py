#!/usr/bin/python3
"""The dashboard's modules that need no page, on Node.js."""
import node_tests
import penstock_test as pt


class Modules(node_tests.NodeTests):
    script = "modules.mjs"

    def environment(self):
        return {"PENSTOCK_WEB": str(pt.SOURCE_DIR / "src/http/web")}


if __name__ == "__main__":
    pt.main()
