"""Pictures and NumPy's arrays as inputs: `penstock submit --image` and `--npy`, through a real model."""
import json
import os
import struct
import unittest
import zlib

import flow
import penstock_test as pt

DIGITS = pt.SOURCE_DIR / "models/digits"


def png(width, rows):
    """A PNG of grey pixels, by hand."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    raw = b"".join(b"\0" + bytes(row) for row in rows)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, len(rows), 8, 0, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))


def npy(descr, shape, data):
    head = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    head += b" " * (-(len(head) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data


def setUpModule():
    global dev, env, folder
    pt.need_program("redis-server", "redis-server")
    folder = pt.temp_dir("inputs")
    for name, model in {"digits": DIGITS, "echo": flow.MODELS / "echo"}.items():
        (folder / "models").mkdir(exist_ok=True)
        (folder / "models" / name).symlink_to(model)
    (folder / "in").mkdir()
    env = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_CONFIG")}
    env["XDG_RUNTIME_DIR"] = str(folder)
    dev = pt.Process([pt.penstock_path(), "dev", "-s", f"models.repository={folder}/models",
                      "-s", f"artifacts.input_root={folder}/in"], folder / "dev.log", env=env, cwd=folder)
    unittest.addModuleCleanup(dev.terminate)
    pt.wait_for(lambda: "is ready" in dev.log(), 60, lambda: f"dev is ready:\n{dev.log()}")


class Inputs(unittest.TestCase):
    def submit(self, *args, code=0):
        done = pt.penstock("submit", *args, check=False, env=env)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.assertEqual(flow.sanitizer_reports(done.stderr), "")
        return done

    def recognised(self, *args):
        """The digit that the model sees."""
        record = json.loads(self.submit("--model", "digits", "--wait", "--json", *args).stdout)
        (output,) = record["result"]["outputs"]
        return output["data"].index(max(output["data"]))

    def spec_input(self, *args):
        job_id = json.loads(self.submit("--json", *args).stdout)["job_id"]
        pt.wait_for(lambda: pt.penstock("get", job_id, check=False, env=env).returncode == 0, 30, "it has arrived")
        (tensor,) = json.loads(pt.penstock("get", "--spec", job_id, env=env).stdout)["inputs"]
        return tensor

    def test_the_sample_image_is_recognised_as_the_sample_is(self):
        label = json.loads((DIGITS / "samples/labels.json").read_text())["07.json"]
        self.assertEqual(self.recognised("--image", DIGITS / "samples/07.png", "--image-scale", "16"), int(label))
        self.assertEqual(self.recognised("--image", f"image={DIGITS}/samples/07.png", "--image-scale=16"), int(label))

    def test_every_sample_survives_the_way_through_a_larger_picture_of_ink_on_paper(self):
        labels = json.loads((DIGITS / "samples/labels.json").read_text())
        for sample in ("02.json", "11.json"):
            pixels = json.loads((DIGITS / "samples" / sample).read_text())["inputs"][0]["data"]
            rows = [[255 - round(pixels[y // 5 * 8 + x // 5] * 255 / 16) for x in range(40)] for y in range(40)]
            file = folder / "large.png"
            file.write_bytes(png(40, rows))
            with self.subTest(sample):
                self.assertEqual(self.recognised("--image", file, "--image-scale", "16", "--image-invert"), int(labels[sample]))

    def test_arrays_get_the_batch_and_the_datatype_that_the_model_takes(self):
        pixels = json.loads((DIGITS / "samples/07.json").read_text())["inputs"][0]["data"]
        label = json.loads((DIGITS / "samples/labels.json").read_text())["07.json"]
        for descr, shape, pack in (("<f4", (1, 1, 8, 8), "f"), ("<f8", (1, 8, 8), "d"), ("|u1", (1, 8, 8), "B")):
            file = folder / "sample.npy"
            file.write_bytes(npy(descr, shape, struct.pack(f"<64{pack}", *(int(p) if pack == "B" else p for p in pixels))))
            with self.subTest(descr):
                self.assertEqual(self.recognised("--npy", file), int(label))

    def test_the_tensor_has_the_name_shape_and_datatype_of_the_model(self):
        tensor = self.spec_input("--model", "digits", "--image", DIGITS / "samples/07.png")
        self.assertEqual((tensor["name"], tensor["shape"], tensor["datatype"]), ("image", [1, 1, 8, 8], "FP32"))
        self.assertEqual((min(tensor["data"]), max(tensor["data"])), (0, 1))

    def test_what_is_too_large_for_a_command_goes_to_the_input_root(self):
        file = folder / "many.npy"
        file.write_bytes(npy("<f8", (2000, 1, 8, 8), struct.pack("<128000d", *(n / 7 for n in range(128000)))))
        tensor = self.spec_input("--model", "digits", "--npy", file)
        self.assertEqual((tensor["shape"], "data" in tensor), ([2000, 1, 8, 8], False))
        written = tensor["uri"].removeprefix("file://")
        self.assertTrue(written.startswith(f"{folder}/in/"))
        self.assertEqual(os.path.getsize(written), 128000 * 4)
        done = self.submit("--model", "digits", "--npy", file, "-s", "artifacts.input_root=", code=1)
        self.assertIn("artifacts.input_root", done.stderr)

    def test_what_does_not_fit_is_refused_before_anything_is_sent(self):
        text = folder / "text.png"
        text.write_text("no picture")
        long = folder / "long.npy"
        long.write_bytes(npy("<i8", (1, 8, 8), bytes(512)))
        for args, code, word in ((["--image", "x.png"], 2, "--model"), (["--model", "digits", "--image", "/nonexistent.png"], 2, "nonexistent"),
                                 (["--model", "digits", "--image", text], 1, "neither a PNG nor a JPEG"),
                                 (["--model", "nobody", "--image", text], 1, "nobody"),
                                 (["--model", "echo", "--image", text], 1, "declares no inputs"),
                                 (["--model", "digits", "--npy", text], 1, "npy"), (["--model", "digits", "--npy", long], 1, "INT64"),
                                 (["--model", "digits", "--image", text, "--image-std", "0"], 2, "--image-std"),
                                 (["--model", "digits", "--image", text, "--image-mean", "1,a"], 2, "--image-mean"),
                                 (["--model", "digits", "--image", text, "--image-layout", "chw"], 2, "nhwc")):
            with self.subTest(word):
                self.assertIn(word, self.submit(*args, code=code).stderr)


if __name__ == "__main__":
    pt.main()
