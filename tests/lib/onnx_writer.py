"""onnx_writer: small ONNX models without the onnx package, for tests that need one of a certain shape.

    model = onnx_writer.model(nodes=[node("Relu", ["x"], ["y"])], inputs=[value("x", [-1, 3])], outputs=[value("y", [-1, 3])])
    Path("model.onnx").write_bytes(model)

Only what tests ask for: FP32 and INT64 tensors, integer attributes. Source: onnx.proto, whose field numbers these are.
"""
import struct

FLOAT, INT64 = 1, 7


def varint(value):
    out = bytearray()
    value &= (1 << 64) - 1
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def integer(number, value):
    return varint(number << 3) + varint(value)


def field(number, content):
    data = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(data)) + data


def attribute(name, value):
    return field(1, name) + integer(3, value) + integer(20, 2)


def node(op_type, inputs, outputs, name="", **attributes):
    return (b"".join(field(1, x) for x in inputs) + b"".join(field(2, x) for x in outputs) + field(3, name) + field(4, op_type)
            + b"".join(field(5, attribute(key, value)) for key, value in attributes.items()))


def value(name, shape, datatype=FLOAT):
    dims = b"".join(field(1, integer(1, dim) if dim >= 0 else field(2, "n")) for dim in shape)
    return field(1, name) + field(2, field(1, integer(1, datatype) + field(2, dims)))


def tensor(name, shape, elements, datatype=FLOAT):
    raw = struct.pack(f"<{len(elements)}{'f' if datatype == FLOAT else 'q'}", *elements)
    return b"".join(integer(1, dim) for dim in shape) + integer(2, datatype) + field(8, name) + field(9, raw)


def model(nodes, inputs, outputs, weights=(), opset=13):
    graph = (b"".join(field(1, x) for x in nodes) + field(2, "test") + b"".join(field(5, x) for x in weights)
             + b"".join(field(11, x) for x in inputs) + b"".join(field(12, x) for x in outputs))
    return integer(1, 8) + field(7, graph) + field(8, field(1, "") + integer(2, opset))
