"""Writes a tiny ONNX model: scores = softmax(values * weights + bias), four values, three classes.

    python model.py FILE

The file is protocol buffers, put together by hand: a message is a row of (field, wire type, value).
"""

import struct
import sys


def varint(number):
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def number(field, value):
    return varint(field << 3) + varint(value)


def data(field, value):
    value = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(value)) + value


def tensor(name, shape, values):
    dims = b"".join(number(1, size) for size in shape)
    return dims + number(2, 1) + data(8, name) + data(9, struct.pack(f"<{len(values)}f", *values))


def node(kind, inputs, output):
    return b"".join(data(1, name) for name in inputs) + data(2, output) + data(4, kind)


def value(name, shape):
    dims = b"".join(data(1, number(1, size)) for size in shape)
    return data(1, name) + data(2, data(1, number(1, 1) + data(2, dims)))


graph = b"".join([
    data(1, node("MatMul", ["values", "weights"], "product")),
    data(1, node("Add", ["product", "bias"], "sum")),
    data(1, node("Softmax", ["sum"], "scores")),
    data(2, "tiny"),
    data(5, tensor("weights", [4, 3], [1, 0, 0, 0, 1, 0, 0, 0, 1, 0.5, 0.5, 0.5])),
    data(5, tensor("bias", [3], [0, 0.1, 0.2])),
    data(11, value("values", [1, 4])),
    data(12, value("scores", [1, 3])),
])
model = number(1, 8) + data(2, "slmguard scene") + data(7, graph) + data(8, number(2, 17))
with open(sys.argv[1], "wb") as file:
    file.write(model)
