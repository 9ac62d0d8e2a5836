"""`penstock check-model`: what it says about models that can be run, that cannot, and that are none."""
import json
import shutil
import unittest
from pathlib import Path

import penstock_test as pt

NODES = Path("/usr/share/libonnx-testdata/data/node")


class CheckModel(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not NODES.is_dir():
            raise pt.Missing("ONNX's test data are missing (Debian package libonnx-testdata)")

    def check(self, *args, code=0):
        done = pt.penstock("check-model", *args, check=False)
        self.assertEqual(done.returncode, code, f"{args}: {done.stdout}{done.stderr}")
        return done

    def test_model_that_can_be_run_is_described(self):
        text = self.check(pt.SOURCE_DIR / "models/digits/1", "--batch", "8").stdout
        self.assertRegex(text, r"inputs +image  FP32 \[\?,1,8,8\]")
        self.assertRegex(text, r"outputs +probabilities  FP32 \[\?,10\]")
        self.assertIn("Conv x3", text)
        self.assertIn("can be run", text)
        found = json.loads(self.check(pt.SOURCE_DIR / "models/digits/1/model.onnx", "--json").stdout)
        self.assertTrue(found["ok"])
        self.assertEqual([tensor["name"] for tensor in found["inputs"]], ["image"])
        memory = found["memory"]
        self.assertLess(memory["planned_bytes"], memory["value_bytes"] + memory["scratch_bytes"])

    def test_plain_run_takes_more_steps_and_gives_the_same(self):
        folder = NODES / "test_conv_with_strides_padding"
        self.assertIn("gives what it should", self.check(folder, "--data", folder, "--plain").stdout)
        digits = pt.SOURCE_DIR / "models/digits/1"
        steps = [json.loads(self.check(digits, "--json", *how).stdout)["memory"]["steps"] for how in ((), ("--plain",))]
        self.assertLess(steps[0], steps[1])

    def test_data_within_tolerance_pass_and_others_do_not(self):
        folder = NODES / "test_conv_with_strides_padding"
        self.assertIn("gives what it should", self.check(folder, "--data", folder).stdout)
        wrong = pt.temp_dir("check") / "wrong"
        shutil.copytree(folder, wrong)
        path = wrong / "test_data_set_0/output_0.pb"
        for bits, what in ((b"\x00\x00\x80\x3f", "a number"), (b"\x00\x00\xc0\x7f", "NaN")):
            path.write_bytes(path.read_bytes()[:-4] + bits)
            with self.subTest(what):
                self.assertIn("NOT within tolerance", self.check(folder, "--data", wrong, code=1).stdout)
        self.assertFalse(json.loads(self.check(folder, "--data", wrong, "--json", code=1).stdout)["ok"])
        self.check(folder, "--data", wrong, "--atol", "1e9", code=1)  # NaN never passes

    def test_everything_that_is_not_supported_is_listed(self):
        done = self.check(NODES / "test_tfidfvectorizer_tf_batch_onlybigrams_skip0", code=1)
        self.assertRegex(done.stdout, r"unsupported TfIdfVectorizer: 1 nodes")
        self.assertIn("the operator is not supported", done.stderr)
        found = json.loads(self.check(NODES / "test_tfidfvectorizer_tf_batch_onlybigrams_skip0", "--json", code=1).stdout)
        self.assertEqual([op["supported"] for op in found["operators"]], [False])

    def test_what_is_no_model_is_refused_with_the_reason(self):
        folder = pt.temp_dir("broken")
        whole = (pt.SOURCE_DIR / "models/digits/1/model.onnx").read_bytes()
        for name, content in {"empty": b"", "text": b"hello", "cut": whole[:len(whole) // 2]}.items():
            (folder / name).write_bytes(content)
            with self.subTest(name):
                self.assertIn(name, self.check(folder / name, code=1).stderr)
        self.check(folder / "absent", code=1)

    def test_wrong_use_is_told(self):
        model = pt.SOURCE_DIR / "models/digits/1"
        for args in ([], [model, "extra"], [model, "--rtol", "much"], [model, "--batch", "0"], [model, "--device", "tpu"],
                     [model, "--data", "/nowhere"]):
            with self.subTest(args):
                self.assertEqual(self.check(*args, code=2).stdout.count("Usage"), 0)
        self.check(model, "--device", "cuda", "--data", model, code=2)
        self.check(model / "model.onnx", "--device", "cuda", "-s", "worker.plugin_dir=/nowhere", code=2)

    def test_a_gpu_or_plugin_that_is_not_there_is_told(self):
        model = pt.SOURCE_DIR / "models/digits/1"
        self.assertIn("onnx-cuda", self.check(model, "--device", "cuda", "-s", "worker.plugin_dir=/nowhere", code=2).stderr)
        told = pt.penstock("check-model", model, "--device", "cuda", check=False)
        self.assertTrue(told.returncode == 0 or "onnx-cuda" in told.stderr, told)


if __name__ == "__main__":
    pt.main()
