"""make_models: networks of the shape of ResNet-50 and BERT-base, with weights from a seed, for bench_onnx.

    /usr/bin/python3 tests/bench/make_models.py FOLDER        writes FOLDER/resnet50_shape.onnx and bert_base_shape.onnx

Shapes and operators are those that PyTorch exports: ResNet-50 v1.5 with its 53 BatchNormalizations (opset 13), and BERT-base with
12 layers of 768, LayerNormalization and GELU spelled out in Pow, Sqrt, Erf and the like, and head-wise attention by Reshape and
Transpose. The weights are random and as large as trained ones, so that activations stay finite; what is measured does not depend
on them. What is there already is left alone.
"""
import sys
from pathlib import Path

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 13
SEQUENCE = 128


class Net:
    def __init__(self, seed):
        self.nodes, self.weights, self.count = [], [], 0
        self.random = numpy.random.default_rng(seed)

    def name(self, what):
        self.count += 1
        return f"{what}_{self.count}"

    def weight(self, values):
        name = self.name("w")
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def normal(self, shape, scale):
        return self.weight((self.random.standard_normal(shape, dtype=numpy.float32) * numpy.float32(scale)))

    def number(self, value):
        return self.weight(numpy.array(value, dtype=numpy.float32))

    def ints(self, *values):
        return self.weight(numpy.array(values, dtype=numpy.int64))

    def op(self, op_type, *inputs, **attributes):
        out = self.name(op_type.lower())
        self.nodes.append(helper.make_node(op_type, list(inputs), [out], name=out, **attributes))
        return out

    def save(self, path, inputs, output, out_shape):
        self.nodes.append(helper.make_node("Identity", [output], ["output"], name="output"))
        graph = helper.make_graph(self.nodes, path.stem, inputs, [helper.make_tensor_value_info("output", TensorProto.FLOAT, out_shape)],
                                  self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="penstock")
        model.ir_version = 8
        onnx.save(model, str(path))


def resnet50(path):
    net = Net(50)

    def conv(x, channels, out, kernel, stride, relu=True):
        w = net.normal((out, channels, kernel, kernel), (2.0 / (channels * kernel * kernel)) ** 0.5)
        pad = kernel // 2
        x = net.op("Conv", x, w, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4)
        scale = net.weight(numpy.full(out, 1.0 if relu else 0.3, dtype=numpy.float32))
        bias, mean = net.normal(out, 0.1), net.normal(out, 0.1)
        variance = net.weight(net.random.uniform(0.5, 1.5, out).astype(numpy.float32))
        x = net.op("BatchNormalization", x, scale, bias, mean, variance, epsilon=1e-5)
        return net.op("Relu", x) if relu else x

    x = conv("input", 3, 64, 7, 2)
    x = net.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        width = 64 << stage
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            y = conv(x, channels, width, 1, 1)
            y = conv(y, width, width, 3, stride)
            y = conv(y, width, width * 4, 1, 1, relu=False)
            if not block:
                x = conv(x, channels, width * 4, 1, stride, relu=False)
            channels = width * 4
            x = net.op("Relu", net.op("Add", y, x))
    x = net.op("Flatten", net.op("GlobalAveragePool", x))
    x = net.op("Gemm", x, net.normal((1000, channels), 0.02), net.normal(1000, 0.02), transB=1)
    net.save(path, [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, 224, 224])], x, ["N", 1000])


def bert_base(path, layers=12, hidden=768, heads=12, vocabulary=30522):
    net = Net(12)

    def linear(x, rows, cols):
        return net.op("Add", net.op("MatMul", x, net.normal((rows, cols), 0.02)), net.normal(cols, 0.02))

    def layer_norm(x):
        centred = net.op("Sub", x, net.op("ReduceMean", x, axes=[-1]))
        variance = net.op("ReduceMean", net.op("Pow", centred, net.number(2)), axes=[-1])
        x = net.op("Div", centred, net.op("Sqrt", net.op("Add", variance, net.number(1e-12))))
        return net.op("Add", net.op("Mul", x, net.weight(numpy.ones(hidden, dtype=numpy.float32))), net.normal(hidden, 0.02))

    def gelu(x):
        erf = net.op("Add", net.op("Erf", net.op("Div", x, net.number(2 ** 0.5))), net.number(1))
        return net.op("Mul", net.op("Mul", x, erf), net.number(0.5))

    def split_heads(x, perm):
        return net.op("Transpose", net.op("Reshape", x, net.ints(0, 0, heads, hidden // heads)), perm=perm)

    def attention(x, mask):
        q, k = split_heads(linear(x, hidden, hidden), [0, 2, 1, 3]), split_heads(linear(x, hidden, hidden), [0, 2, 3, 1])
        v = split_heads(linear(x, hidden, hidden), [0, 2, 1, 3])
        scores = net.op("Add", net.op("Div", net.op("MatMul", q, k), net.number((hidden / heads) ** 0.5)), mask)
        y = net.op("Transpose", net.op("MatMul", net.op("Softmax", scores, axis=-1), v), perm=[0, 2, 1, 3])
        return linear(net.op("Reshape", y, net.ints(0, 0, hidden)), hidden, hidden)

    mask = net.op("Cast", net.op("Unsqueeze", "attention_mask", net.ints(1, 2)), to=TensorProto.FLOAT)
    mask = net.op("Mul", net.op("Sub", net.number(1), mask), net.number(-10000))
    x = net.op("Gather", net.normal((vocabulary, hidden), 0.02), "input_ids", axis=0)
    x = layer_norm(net.op("Add", x, net.normal((1, SEQUENCE, hidden), 0.02)))
    for _ in range(layers):
        x = layer_norm(net.op("Add", attention(x, mask), x))
        x = layer_norm(net.op("Add", linear(gelu(linear(x, hidden, 4 * hidden)), 4 * hidden, hidden), x))
    ids = [helper.make_tensor_value_info(name, TensorProto.INT64, ["N", SEQUENCE]) for name in ("input_ids", "attention_mask")]
    net.save(path, ids, x, ["N", SEQUENCE, hidden])


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for make, name in ((resnet50, "resnet50_shape"), (bert_base, "bert_base_shape")):
        path = folder / f"{name}.onnx"
        if not path.exists():
            make(path.with_suffix(".tmp"))
            path.with_suffix(".tmp").rename(path)
        print(path)


main()
