#!/usr/bin/python3
"""The dashboard in Chromium, against `penstock dev` and, for tokens, a second control process beside it. Screenshots of
every view, in light and dark, on a wide screen and a phone: <build folder>/screenshots."""
import json
import os
import re
import shutil

import node_tests
import penstock_test as pt


def browser_tools():
    done = pt.run([pt.SOURCE_DIR / "scripts/fetch-browser"], check=False, timeout=300)
    if done.returncode == pt.EXIT_SKIP:
        raise pt.Missing(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class Dashboard(node_tests.NodeTests):
    script = "dashboard.mjs"

    def setUp(self):
        pt.need_program("redis-server", "redis-server")
        pt.need_program("chromium", "chromium")
        node_tests.need_node()
        self.tools = browser_tools()
        self.runtime = pt.temp_dir("runtime")
        self.env = {**os.environ, "XDG_RUNTIME_DIR": str(self.runtime)}
        self.env.pop("PENSTOCK_CONFIG", None)

    def models(self):
        """digits, which computes, and echo, which does as it is told."""
        repository = pt.temp_dir("models")
        shutil.copytree(pt.SOURCE_DIR / "models/digits", repository / "digits")
        shutil.copytree(pt.SOURCE_DIR / "tests/models/echo", repository / "echo")
        return repository

    def roots(self):
        """Where large outputs and uploads lie."""
        options = []
        for name in ("root", "input_root"):
            (self.runtime / name).mkdir(exist_ok=True)
            options += ["-s", f"artifacts.{name}={self.runtime / name}"]
        return options

    def dev(self):
        # Two workers: some tests leave a job running for ever, and the others must not wait for it.
        process = pt.Process([pt.penstock_path(), "dev", "-s", f"models.repository={self.models()}", "-s", "worker.count=2", *self.roots()],
                             self.runtime / "dev.log", env=self.env, cwd=self.runtime)
        pt.wait_for(lambda: "is ready" in process.log() or not process.alive(), 60, lambda: f"dev is ready:\n{process.log()}")
        return re.search(r"^ *HTTP +(http\S+)", process.log(), re.MULTILINE)[1].rstrip("/")

    def guarded(self):
        """Another control process on the same servers, which asks for a token: its address and the token."""
        tokens = self.runtime / "tokens"
        made = pt.penstock("token", "tester", "--roles", "admin", "--file", tokens, "--json", env=self.env)
        port = pt.free_port()
        process = pt.Process([pt.penstock_path(), "serve", "--no-workers", "-s", f"http.listen=127.0.0.1:{port}",
                              "-s", f"http.token_file={tokens}", *self.roots()], self.runtime / "serve.log", env=self.env, cwd=self.runtime)
        pt.wait_for(lambda: re.search(r"assigned \S+commands\[", process.log()), 60, process.log)
        return f"http://127.0.0.1:{port}", json.loads(made.stdout)["token"]

    def browser_environment(self, url):
        """What browser.mjs wants."""
        return {"PENSTOCK_URL": url, "PENSTOCK_BROWSER_TOOLS": self.tools, "PENSTOCK_CHROMIUM": shutil.which("chromium"),
                "PENSTOCK_SHOTS": str(pt.BUILD_DIR / "screenshots")}

    def environment(self):
        url = self.dev()
        guarded, token = self.guarded()
        return {**self.browser_environment(url), "PENSTOCK_GUARDED_URL": guarded, "PENSTOCK_TOKEN": token,
                "PENSTOCK_SAMPLES": str(pt.SOURCE_DIR / "models/digits/samples")}


if __name__ == "__main__":
    pt.main()
