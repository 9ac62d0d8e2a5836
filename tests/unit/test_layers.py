#!/usr/bin/python3
"""The shape of the tree, checked: who may include whom, who may use which library, how long headers and functions are,
and what each object file exports. What it finds is printed as file:line, all of it, before it fails."""
import os
import pathlib
import re
import subprocess
import sys
import unittest

ROOT = pathlib.Path(os.environ.get("PENSTOCK_SOURCE_DIR") or pathlib.Path(__file__).resolve().parents[2])
BUILD = pathlib.Path(os.environ.get("PENSTOCK_BUILD_DIR") or ROOT / "build/debug")

# In the order of the data flow: a module may include its own headers and those of modules before it.
ORDER = ["base", "config", "artifact", "image", "job", "wire", "bus", "store", "ingest", "sweeper", "relay", "onnx", "executor", "worker", "http", "cli"]

# Headers that are not called after their module. executor.h is the plug-in ABI: types and tensor.h alone, no code, which
# wire fills and onnx implements; so it stands with base's headers. A test below holds it to that.
MODULE_OF = {
    **dict.fromkeys(["err", "clock", "log", "mem", "buf", "loop", "tensor", "nearest", "executor", "beneath", "uuid", "sha256", "fnv"], "base"),
    "wire_config": "wire", "wire_infer": "wire", "wire_json": "wire", "bus_kafka": "bus", "store_view": "store", "store_outbox": "store", "store_policy": "store", "store_watch": "store", "registry": "executor", "worker_models": "worker", "onnx_report": "onnx", "onnx_backend": "onnx",
}

# Library headers and the one folder that may see them.
LIBRARIES = {
    r"librdkafka/|rdkafka\.h": "src/bus/", r"hiredis": "src/store/", r"jansson": "src/wire/", r"ini\.h": "src/config/",
    r"cuda|cublas|nvrtc|cudnn": "src/onnx/cuda/", r"cblas|openblas|lapack": "src/onnx/", r"microhttpd": "src/http/", r"openssl/(evp|sha)": "src/base/",
    r"png\.h|turbojpeg": "src/image/",
    r"openssl/(?!evp|sha)": "src/store/",
}

# What the object files of a module may export besides <module>_ and <module>__.
PREFIXES = {
    "base": ["err_", "clock_", "log_", "mem_", "arena_", "buf_", "loop_", "tensor_", "datatype_", "nearest_", "beneath_", "uuid_", "sha256_"],
    "bus": ["call_once", "cnd_", "mtx_", "thrd_"],  # kafka_tsan.c stands in for the C library's threads, in ThreadSanitizer builds alone
    "executor": ["registry_", "penstock_executor"],
    "cli": ["cmd_"],
}

HEADER_LINES, HEADER_FUNCTIONS, FUNCTION_LINES, MEDIAN_LINES = 150, 15, 120, 18


def module_of(header):
    name = pathlib.PurePath(header).stem
    return MODULE_OF.get(name, name)


def sources(*suffixes):
    return sorted(p for p in (ROOT / "src").rglob("*") if p.suffix in suffixes)


def headers():
    return sorted((ROOT / "include/penstock").glob("*.h"))


def includes(path):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match = re.match(r'\s*#\s*include\s+(["<])([^">]+)[">]', line)
        if match:
            yield number, match[1], match[2]


def relative(path):
    return str(path.relative_to(ROOT))


def functions(path):
    """Name and length of each function, which clang-format begins and ends in the first column."""
    start = None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if start is None and re.match(r"[A-Za-z_].*\)\s*\{\s*(/\*.*)?$", line) and not line.startswith(("struct", "enum", "union")):
            start = (number, line)
        elif start is None and re.match(r"(struct|enum|union)\b.*\)\s*\{\s*$", line):
            start = (number, line)
        elif start is None and re.match(r"\s.*\)\s*\{\s*$", line) and previous.startswith(("static", "int", "void", "bool")):
            start = (number, previous)  # the parameters went on to a second line
        elif start is not None and line.startswith("}"):
            yield start[1].split("(")[0].split()[-1].lstrip("*"), start[0], number - start[0] + 1
            start = None
        previous = line


def exported(archive):
    """(object file, symbol) for each symbol that the archive's members define for others."""
    out = subprocess.run(["nm", "-g", "--defined-only", str(archive)], check=True, capture_output=True, text=True).stdout
    member = "?"
    for line in out.splitlines():
        if line.endswith(":"):
            member = line[:-1]
        elif line.strip() and not line.split()[-1].startswith("__"):  # the sanitizers' own
            yield member, line.split()[-1]


class Layers(unittest.TestCase):
    def none(self, found):
        self.assertEqual([], list(found), "\n".join(["", *found]))

    def test_every_header_belongs_to_a_module_that_there_is(self):
        self.none(relative(h) for h in headers() if module_of(h.name) not in ORDER)

    def test_every_source_folder_is_a_module_of_the_order(self):
        self.none(p.name for p in (ROOT / "src").iterdir() if p.is_dir() and p.name not in ORDER)

    def test_no_module_includes_one_that_stands_after_it(self):
        def upward():
            for path in [*sources(".c", ".h", ".cu"), *headers()]:
                in_src = ROOT / "src" in path.parents
                parts = path.relative_to(ROOT / "src").parts if in_src else ()
                if in_src and len(parts) == 1:
                    continue  # main.c
                own = parts[0] if in_src else module_of(path.name)
                for number, _, name in includes(path):
                    if name.startswith("penstock/") and ORDER.index(module_of(name)) > ORDER.index(own):
                        yield f"{relative(path)}:{number}: {own} includes {name}, of {module_of(name)}"

        self.none(upward())

    def test_no_module_includes_the_internal_header_of_another(self):
        def foreign():
            for path in sources(".c", ".h", ".cu"):
                module = path.relative_to(ROOT / "src").parts[0]
                for number, quote, name in includes(path):
                    local = quote == '"' and not name.startswith("penstock/")
                    if local and not any((folder / name).exists() for folder in [path.parent, ROOT / "src" / module]):
                        yield f"{relative(path)}:{number}: {name} is not in src/{module}"

        self.none(foreign())

    def test_the_plug_in_abi_needs_tensor_alone(self):
        found = [name for _, quote, name in includes(ROOT / "include/penstock/executor.h") if quote == '"']
        self.assertEqual(["penstock/tensor.h"], found)

    def test_each_library_is_used_in_one_folder(self):
        def strays():
            for path in [*sources(".c", ".h", ".cu"), *headers()]:
                for number, quote, name in includes(path):
                    for library, folder in LIBRARIES.items():
                        if quote == "<" and re.match(library, name) and not relative(path).startswith(folder):
                            yield f"{relative(path)}:{number}: <{name}> belongs to {folder}"

        self.none(strays())

    def test_no_header_outgrows_its_limits(self):
        def large():
            for path in headers():
                lines = path.read_text().splitlines()
                # The table of errors is one row an error and grows with them: it is data, and belongs to no limit on prose.
                table = sum(line.lstrip().startswith("X(") for line in lines) if path.name == "err.h" else 0
                if len(lines) - table > HEADER_LINES:
                    yield f"{relative(path)}: {len(lines) - table} lines"
                count = len(re.findall(r"^(?!typedef|static|#|//| )[A-Za-z_][^;{}()=]*\b\w+\([^*]", path.read_text(), re.M))
                if count > HEADER_FUNCTIONS and path.name != "err.h":
                    yield f"{relative(path)}: {count} functions"

        self.none(large())

    def test_no_function_outgrows_a_screen_and_the_median_is_short(self):
        lengths = [(length, f"{relative(p)}:{line}: {name}") for p in sources(".c") for name, line, length in functions(p)]
        self.assertGreater(len(lengths), 100, "the scanner finds no functions any more")
        self.none(f"{where} has {length} lines" for length, where in lengths if length > FUNCTION_LINES)
        median = sorted(length for length, _ in lengths)[len(lengths) // 2]
        self.assertLessEqual(median, MEDIAN_LINES)

    def test_object_files_export_only_names_of_their_module(self):
        archives = sorted(BUILD.glob("libpenstock_*.a"))
        self.assertTrue(archives, f"no libraries in {BUILD}")

        def strays():
            for archive in archives:
                module = archive.stem.removeprefix("libpenstock_")
                if module not in ORDER:
                    continue  # the tests' own library
                allowed = tuple([f"{module}_", *PREFIXES.get(module, [])])
                for member, symbol in exported(archive):
                    if not symbol.startswith(allowed):
                        yield f"{archive.name}({member}): {symbol}"

        self.none(strays())


if __name__ == "__main__":
    if not (ROOT / "src").is_dir():
        sys.exit(f"no sources in {ROOT}")
    unittest.main(verbosity=2)
