"""http_client: a plain client for the HTTP server's tests, which checks every answer against schemas/openapi.yaml.

    api = http_client.Api("http://127.0.0.1:8080")
    answer = api("POST", "/jobs", json={"model": "echo"}, headers={"Prefer": "wait=5"})
    assert answer.status == 200 and answer.json["state"] == "completed"

What is asked for must be in the description: path, method, and for each answer its status (or `default`), its required
headers, its Content-Type and the schema of its body.
"""
import http.client
import json
import re
import ssl
import urllib.parse

import flow
import penstock_test as pt


class Description:
    """schemas/openapi.yaml, with what it refers to."""

    def __init__(self):
        try:
            import jsonschema
            import yaml
        except ImportError:
            raise pt.Missing("python3-jsonschema or python3-yaml is missing") from None
        self.jsonschema = jsonschema
        self.document = yaml.safe_load((pt.SOURCE_DIR / "schemas/openapi.yaml").read_text())
        self.base = "https://penstock.example/schemas/openapi.yaml"
        schemas = [json.loads(path.read_text()) for path in (pt.SOURCE_DIR / "schemas").glob("*.schema.json")]
        self.store = {self.base: self.document, **{schema["$id"]: schema for schema in schemas}}
        self.paths = [(re.compile("".join("[^/]+" if part.startswith("{") else re.escape(part)
                                          for part in re.split(r"(\{[^}]+\})", path)) + r"\Z"), path)
                      for path in sorted(self.document["paths"], key=lambda path: path.count("{"))]

    def resolve(self, node):
        while "$ref" in node and node["$ref"].startswith("#/"):
            found = self.document
            for part in node["$ref"][2:].split("/"):
                found = found[part.replace("~1", "/").replace("~0", "~")]
            node = found
        return node

    def operation(self, method, path):
        for pattern, template in self.paths:
            if pattern.match(path):
                return self.document["paths"][template].get("get" if method == "HEAD" else method.lower())
        return None

    def validate(self, schema, value):
        resolver = self.jsonschema.RefResolver(self.base, self.document, store=self.store)
        errors = sorted(self.jsonschema.Draft202012Validator(schema, resolver=resolver).iter_errors(value), key=str)
        assert not errors, f"{errors[0].message} at {list(errors[0].path)}: {json.dumps(value)[:600]}"

    def check(self, method, path, answer):
        operation = self.operation(method, path)
        where = f"{method} {path} -> {answer.status}"
        if operation is None:  # not described: then it can only be refused
            assert answer.status >= 400, f"{where} is not described"
            response = {"$ref": "#/components/responses/Error"}
        else:
            response = operation["responses"].get(str(answer.status)) or operation["responses"].get("default")
            assert response and (str(answer.status) in operation["responses"] or answer.status >= 400), f"{where} is not described"
        response = self.resolve(response)
        for name, header in response.get("headers", {}).items():
            header = self.resolve(header)
            value = answer.headers.get(name.lower())
            assert value is not None or not header.get("required"), f"{where}: no {name}"
            if value is not None:
                self.validate(header["schema"], int(value) if header["schema"].get("type") == "integer" else value)
        if not answer.body:
            return
        media = answer.headers["content-type"].split(";")[0]
        assert media in response.get("content", {}), f"{where}: {media} is not described"
        if media.endswith("json"):
            self.validate(response["content"][media]["schema"], json.loads(answer.body))


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.body = status, body
        self.headers = {name.lower(): value for name, value in headers}

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


class Api:
    _description = None

    def __init__(self, url, token=None, ca=None):
        self.url, self.token = urllib.parse.urlsplit(url), token
        self.context = ssl.create_default_context(cafile=ca) if ca else None
        Api._description = Api._description or Description()

    def connect(self, timeout=30):
        if self.url.scheme == "https":
            return http.client.HTTPSConnection(self.url.hostname, self.url.port, timeout=timeout, context=self.context)
        return http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=timeout)

    def __call__(self, method, path, json=None, body=None, headers=None, timeout=30):
        headers = {**({"Authorization": f"Bearer {self.token}"} if self.token else {}), **(headers or {})}
        if json is not None:
            body = _dumps(json)
            headers.setdefault("Content-Type", "application/json")
        connection = self.connect(timeout)
        try:
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            answer = Answer(response.status, response.getheaders(), response.read())
        finally:
            connection.close()
        if method not in ("OPTIONS",):
            self._description.check(method, urllib.parse.urlsplit(path).path, answer)
        return answer


def _dumps(value):
    return json.dumps(value).encode()


class HttpHouse(flow.House):
    """A house with an HTTP server, on a free port."""

    def __init__(self, kafka, redis, name=None, **sections):
        self.port = pt.free_port()
        sections.setdefault("http", {}).setdefault("listen", f"127.0.0.1:{self.port}")
        super().__init__(kafka, redis, name, **sections)
        scheme = "https" if "tls_cert" in sections["http"] else "http"
        self.api_url = f"{scheme}://127.0.0.1:{self.port}"

    def api(self, token=None, ca=None):
        return Api(self.api_url, token, ca)
