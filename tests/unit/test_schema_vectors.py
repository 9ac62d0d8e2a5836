"""The schemas and the decoder give the same verdict.

tests/vectors/command is run through src/wire by test_wire_vectors.c; this runs the same messages through
schemas/job-command.schema.json; likewise tests/vectors/model-config, of test_model_config.c. The events and records in
tests/vectors, which test_wire_event.c compares with what src/wire writes, must be valid by their schemas. What
schemas/asyncapi.yaml refers to exists, and its examples are valid. Format and the meaning of "schema" in a vector: tests/vectors/README.md.
"""
import base64
import copy
import json
import os
import pathlib
import re
import sys

try:
    import jsonschema
    import yaml
except ImportError:
    print("SKIP: python3-jsonschema or python3-yaml is not installed")
    sys.exit(77)

ROOT = pathlib.Path(os.environ.get("PENSTOCK_SOURCE_DIR", pathlib.Path(__file__).parents[2]))
VECTORS = ROOT / "tests" / "vectors"

# The codes that can be raised by what a schema does not see. tests/vectors/README.md says why for each.
BLIND_CODES = {"malformed_json", "too_large", "too_deep", "string_too_long", "key_mismatch", "invalid_cloudevent",
               "invalid_tensor", "invalid_member"}
BLIND_CONFIG_CODES = {"invalid_config"}

# What a CloudEvent of a type is about.
COMMAND_TYPES = {**{f"penstock.job.{name}": name for name in ("create", "cancel")},
                 **{f"penstock.{name}": name for name in ("pause", "resume", "drain")}}


def ecma_pattern(validator, pattern, instance, schema):
    """Schema patterns are ECMA-262, where $ is the end and nothing else; Python's also stands before a last newline."""
    if isinstance(instance, str) and not re.search(re.sub(r"\$$", r"\\Z", pattern), instance):
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")


Validator = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"pattern": ecma_pattern})


def load_schemas():
    schemas = {}
    for path in sorted((ROOT / "schemas").glob("*.schema.json")):
        schema = json.loads(path.read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        schemas[path.name] = schema
    store = {schema["$id"]: schema for schema in schemas.values()}
    return {name: Validator(schema, resolver=jsonschema.RefResolver(schema["$id"], schema, store=store))
            for name, schema in schemas.items()}


def refuse_constant(word):
    raise ValueError(f"{word} is not JSON")


def message_bytes(vector):
    if "value_base64" in vector:
        return base64.b64decode(vector["value_base64"])
    if "value_parts" in vector:
        return "".join(part["text"] * part["times"] for part in vector["value_parts"]).encode()
    value = vector["value"]
    return (value if isinstance(value, str) else json.dumps(value)).encode()


def extract_command(vector, value):
    """The command within a CloudEvent, with the type and job_id that the envelope carries for it."""
    headers = {name.lower(): text for name, text in vector.get("headers", {}).items()}
    if headers.get("content-type", "").startswith("application/cloudevents+json") or (
            isinstance(value, dict) and "specversion" in value):
        envelope, command = value, value.get("data")
    elif "ce_type" in headers:
        envelope, command = {"type": headers["ce_type"], "subject": headers.get("ce_subject")}, value
    else:
        return value
    if isinstance(command, dict):
        command = copy.copy(command)
        if "type" in envelope:
            command.setdefault("type", COMMAND_TYPES.get(str(envelope["type"]), envelope["type"]))
        if envelope.get("subject") is not None and str(envelope.get("type")).startswith("penstock.job."):
            command.setdefault("job_id", envelope["subject"])
    return command


def schema_verdict(vector, validator):
    try:
        value = json.loads(message_bytes(vector).decode("utf-8"), parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        return "not-json"
    return "valid" if validator.is_valid(extract_command(vector, value)) else "invalid"


def check_vector(vector, validator, blind_codes):
    """None, or what is wrong with the vector, the schema or the decoder."""
    expect, mark, verdict = vector["expect"], vector["schema"], schema_verdict(vector, validator)
    if mark == "blind":
        if expect not in blind_codes:
            return f"marked blind, but a schema can see every {expect}"
        wanted = "valid"
    else:
        wanted = mark
        if (mark == "valid") != (expect == "accept"):
            return f"expects {expect}, so it cannot be marked {mark}"
    if verdict != wanted:
        return f"expects {expect}, marked {mark}, but the schema says {verdict}"
    return None


def check_folder(folder, least, validator, blind_codes):
    paths = sorted((VECTORS / folder).glob("*.json"))
    problems = [] if len(paths) >= least else [f"only {len(paths)} vectors in {folder}"]
    blind = set()
    for path in paths:
        vector = json.loads(path.read_text())
        problem = check_vector(vector, validator, blind_codes)
        if problem:
            problems.append(f"{folder}/{path.name}: {problem}")
        if vector["schema"] == "blind":
            blind.add(vector["expect"])
    if blind != blind_codes:
        problems.append(f"{folder}: codes listed as blind without a vector: {blind_codes - blind}")
    return problems, len(paths)


def check_documents(folder, validator):
    """Every document is valid, and stops being so with a member that is unknown."""
    paths = sorted((VECTORS / folder).glob("*.json"))
    problems = [] if len(paths) >= 5 else [f"{folder}: only {len(paths)} documents"]
    for path in paths:
        document = json.loads(path.read_text(), parse_constant=refuse_constant)
        problems += [f"{folder}/{path.name}: {error.json_path}: {error.message}" for error in
                     validator.iter_errors(document)]
        if validator.is_valid({**document, "surprise": 1}):
            problems.append(f"{folder}/{path.name}: the schema lets an unknown member pass")
    return problems


def check_error_codes(schema):
    """The schema's list of codes is err.h's."""
    table = re.findall(r'X\(ERR_\w+, "(\w+)"', (ROOT / "include/penstock/err.h").read_text())
    if schema["$defs"]["error_code"]["enum"] == table:
        return []
    return [f"job-event.schema.json: error_code differs from err.h: "
            f"{set(schema['$defs']['error_code']['enum']) ^ set(table) or 'order'}"]


def references(node):
    """Every $ref below a node of asyncapi.yaml."""
    if isinstance(node, dict):
        yield from [node["$ref"]] if "$ref" in node else []
        node = list(node.values())
    for child in node if isinstance(node, list) else []:
        yield from references(child)


def leads_somewhere(document, reference):
    if not reference.startswith("#/"):
        return (ROOT / "schemas" / reference).is_file()
    node = document
    for name in reference[2:].split("/"):
        node = node.get(name, {})
    return bool(node)


def check_asyncapi(commands):
    document = yaml.safe_load((ROOT / "schemas/asyncapi.yaml").read_text())
    problems = [f"asyncapi.yaml: {reference} leads nowhere" for reference in references(document)
                if not leads_somewhere(document, reference)]
    types = set()
    for name, message in document["components"]["messages"].items():
        for example in message.get("examples", []):
            types.add(example["payload"]["type"])
            problems += [f"asyncapi.yaml: {name}: {error.message}" for error in commands.iter_errors(example["payload"])]
    if set(COMMAND_TYPES) != set(document["components"]["schemas"]["commandHeaders"]["properties"]["ce_type"]["enum"]):
        problems.append("asyncapi.yaml: ce_type is not that of the commands")
    if not set(COMMAND_TYPES.values()) >= types >= {"create", "cancel", "pause", "resume", "drain"}:
        problems.append(f"asyncapi.yaml: examples of {sorted(types)} alone")
    return problems


def main():
    validators = load_schemas()
    problems, commands = check_folder("command", 150, validators["job-command.schema.json"], BLIND_CODES)
    more, configs = check_folder("model-config", 40, validators["model-config.schema.json"], BLIND_CONFIG_CODES)
    problems += more
    problems += check_documents("event", validators["job-event.schema.json"])
    problems += check_documents("record", validators["job-record.schema.json"])
    problems += check_asyncapi(validators["job-command.schema.json"])
    problems += check_error_codes(validators["job-event.schema.json"].schema)
    print("\n".join(problems) or f"{commands} commands and {configs} model configurations agree with their schemas")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
