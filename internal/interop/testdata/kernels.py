"""Runs kernels with nothing but Python's standard library and the kernel profile.

It shows what a trainer in another language needs to take a kernel in: the reader of
kernel_profile.py and the operators of the kernels that the forge makes without
approval.

usage: kernels.py PAGE

reads one JSON object a line (file in base64, shape and input) and answers each with
another one: shape and output, and the names of what is trained
"""

import base64
import itertools
import json
import math
import struct
import sys
from math import prod

from kernel_profile import FLOAT, INT64, Kernel, Profile

# --- the operators ---


class Tensor:
    def __init__(self, shape, data):
        self.shape, self.data = tuple(shape), list(data)


def strides(shape):
    return [prod(shape[i + 1:]) for i in range(len(shape))]


def gather(shape, source, steps, start=0):
    """The elements that a walk over shape meets, by the steps of each axis."""
    offsets = [start]
    for size, step in zip(shape, steps):
        offsets = [o + i * step for o in offsets for i in range(size)]
    return [source[o] for o in offsets]


def spread(tensor, shape):
    own = (1,) * (len(shape) - len(tensor.shape)) + tensor.shape
    return gather(shape, tensor.data, [0 if size == 1 else step for size, step in zip(own, strides(own))])


def pointwise(function):
    def apply(*tensors, **_):
        rank = max(len(t.shape) for t in tensors)
        padded = [(1,) * (rank - len(t.shape)) + t.shape for t in tensors]
        shape = tuple(max(sizes) for sizes in zip(*padded))
        return Tensor(shape, map(function, *(spread(t, shape) for t in tensors)))
    return apply


def transpose(x, perm=None):
    perm = perm or list(range(len(x.shape)))[::-1]
    steps, shape = strides(x.shape), [x.shape[axis] for axis in perm]
    return Tensor(shape, gather(shape, x.data, [steps[axis] for axis in perm]))


def reshape(x, shape):
    sizes = [x.shape[i] if size == 0 else size for i, size in enumerate(shape.data)]
    if -1 in sizes:
        sizes[sizes.index(-1)] = len(x.data) // -prod(sizes)
    return Tensor(sizes, x.data)


def matmul(a, b):
    (rows, inner), columns = a.shape[-2:], b.shape[-1]
    batch = pointwise(max)(*(Tensor(t.shape[:-2], [0] * prod(t.shape[:-2])) for t in (a, b))).shape
    left, right = spread(a, batch + (rows, inner)), spread(transpose_last(b), batch + (columns, inner))
    data = []
    for n in range(prod(batch)):
        a_rows = [left[(n * rows + r) * inner:(n * rows + r + 1) * inner] for r in range(rows)]
        b_rows = [right[(n * columns + c) * inner:(n * columns + c + 1) * inner] for c in range(columns)]
        data += [sum(map(float.__mul__, row, column)) for row in a_rows for column in b_rows]
    return Tensor(batch + (rows, columns), data)


def transpose_last(x):
    axes = list(range(len(x.shape)))
    return transpose(x, axes[:-2] + [axes[-1], axes[-2]])


def gemm(a, b, c=None, alpha=1.0, beta=1.0, transA=0, transB=0):
    product = matmul(transpose(a) if transA else a, transpose(b) if transB else b)
    product = Tensor(product.shape, [alpha * v for v in product.data])
    return product if c is None else pointwise(lambda p, q: p + beta * q)(product, c)


def along(x, axis, function):
    """Replaces each line of an axis by what function makes of it."""
    axis %= len(x.shape)
    order = [i for i in range(len(x.shape)) if i != axis] + [axis]
    moved, size = transpose(x, order), x.shape[axis]
    data = []
    for start in range(0, len(moved.data), size):
        data += function(moved.data[start:start + size])
    back = [order.index(i) for i in range(len(order))]
    return transpose(Tensor(moved.shape[:-1] + (len(data) // prod(moved.shape[:-1]),), data), back)


def softmax(x, axis=-1):
    def line(values):
        powers = [math.exp(v - max(values)) for v in values]
        return [p / sum(powers) for p in powers]
    return along(x, axis, line)


def reduce_mean(x, axes, keepdims=1):
    for axis in axes:
        x = along(x, axis, lambda values: [sum(values) / len(values)])
    kept = [size for i, size in enumerate(x.shape) if keepdims or i not in [axis % len(x.shape) for axis in axes]]
    return Tensor(kept, x.data)


def layer_norm(x, scale, bias=None, axis=-1, epsilon=1e-5):
    axis %= len(x.shape)
    flat = Tensor((prod(x.shape[:axis]), prod(x.shape[axis:])), x.data)

    def line(values):
        mean = sum(values) / len(values)
        root = math.sqrt(sum((v - mean) ** 2 for v in values) / len(values) + epsilon)
        return [(v - mean) / root for v in values]
    scaled = pointwise(float.__mul__)(Tensor(x.shape, along(flat, 1, line).data), scale)
    return scaled if bias is None else pointwise(float.__add__)(scaled, bias)


def batch_norm(x, scale, bias, mean, variance, epsilon=1e-5, **_):
    shape = (-1,) + (1,) * (len(x.shape) - 2)
    by_channel = [Tensor((len(t.data),) + shape[1:], t.data) for t in (scale, bias, mean, variance)]
    return pointwise(lambda v, s, b, m, w: (v - m) / math.sqrt(w + epsilon) * s + b)(x, *by_channel)


def concat(*tensors, axis):
    moved = [transpose_to_front(t, axis % len(t.shape)) for t in tensors]
    whole = Tensor((sum(t.shape[0] for t in moved),) + moved[0].shape[1:], itertools.chain(*(t.data for t in moved)))
    order = list(range(1, len(whole.shape)))
    order.insert(axis % len(whole.shape), 0)
    return transpose(whole, order)


def transpose_to_front(x, axis):
    return transpose(x, [axis] + [i for i in range(len(x.shape)) if i != axis])


def windows(x, kernel, pads, steps, dilations, outside):
    """For each example and channel: for each place of the window, what is in it."""
    space = x.shape[2:]
    rank = len(space)
    wide = [size + pads[i] + pads[i + rank] for i, size in enumerate(space)]
    places = [range(0, wide[i] - dilations[i] * (kernel[i] - 1), steps[i]) for i in range(rank)]
    taps = [[t * d for t in range(k)] for k, d in zip(kernel, dilations)]
    looks = []
    for place in itertools.product(*places):
        look = []
        for tap in itertools.product(*taps):
            at = [p + t - pads[i] for i, (p, t) in enumerate(zip(place, tap))]
            inside = all(0 <= a < size for a, size in zip(at, space))
            look.append(sum(a * s for a, s in zip(at, strides(space))) if inside else -1)
        looks.append(look)
    size = prod(space)
    planes = [[[x.data[start + i] if i >= 0 else outside for i in look] for look in looks]
              for start in range(0, len(x.data), size)]
    return planes, tuple(len(p) for p in places)


def shaped(x, kernel_shape, pads, strides, dilations):
    rank = len(x.shape) - 2
    return kernel_shape, pads or [0] * 2 * rank, strides or [1] * rank, dilations or [1] * rank


def conv(x, weights, bias=None, group=1, kernel_shape=None, pads=None, strides=None, dilations=None):
    planes, space = windows(x, *shaped(x, weights.shape[2:], pads, strides, dilations), 0.0)
    examples, channels, filters, taken = x.shape[0], x.shape[1], weights.shape[0], weights.shape[1]
    size, data = prod(weights.shape[1:]), []
    for n, f in itertools.product(range(examples), range(filters)):
        first = n * channels + f // (filters // group) * taken
        filter_weights = weights.data[f * size:(f + 1) * size]
        for place in zip(*planes[first:first + taken]):
            data.append(sum(map(float.__mul__, itertools.chain(*place), filter_weights)) + (bias.data[f] if bias else 0.0))
    return Tensor((examples, filters) + space, data)


def max_pool(x, kernel_shape, pads=None, strides=None, **_):
    planes, space = windows(x, *shaped(x, kernel_shape, pads, strides, None), -math.inf)
    return Tensor(x.shape[:2] + space, [max(look) for plane in planes for look in plane])


def identity(x, *_, **__):
    return x


OPERATORS = {
    "Abs": pointwise(abs), "Neg": pointwise(float.__neg__), "Erf": pointwise(math.erf), "Tanh": pointwise(math.tanh),
    "Relu": pointwise(lambda v: max(v, 0.0)),
    "Sigmoid": pointwise(lambda v: (1 + math.tanh(v / 2)) / 2),
    "Add": pointwise(float.__add__), "Sub": pointwise(float.__sub__), "Mul": pointwise(float.__mul__), "Div": pointwise(float.__truediv__),
    "Identity": identity, "Dropout": identity, "Reshape": reshape, "Transpose": transpose, "Concat": concat,
    "MatMul": matmul, "Gemm": gemm, "Softmax": softmax, "ReduceMean": reduce_mean,
    "LayerNormalization": layer_norm, "BatchNormalization": batch_norm, "Conv": conv, "MaxPool": max_pool,
}


# --- kernels ---


def tensor(initializer):
    shape = initializer.get("dims", [])
    form = {FLOAT: "f", INT64: "q"}[initializer["data_type"]]
    return Tensor(shape, struct.unpack(f"<{prod(shape)}{form}", initializer["raw_data"]))


def run(kernel, host):
    values = {name: tensor(initializer) for name, initializer in kernel.tensors.items()}
    values["host"] = host
    for node in kernel.graph["node"]:
        inputs = [values[name] if name else None for name in node["input"]]
        attributes = {a["name"]: a.get("f", a.get("i", a.get("ints"))) for a in node.get("attribute", [])}
        values[node["output"][0]] = OPERATORS[node["op_type"]](*inputs, **attributes)
    return values["seed"]


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        profile = Profile(file.read())
    for text in sys.stdin:
        asked = json.loads(text)
        kernel = Kernel(profile, base64.b64decode(asked["file"]), asked["shape"][1:])
        seed = run(kernel, Tensor(asked["shape"], asked["input"]))
        print(json.dumps({"shape": seed.shape, "output": seed.data, "trained": kernel.parameters()}), flush=True)


if __name__ == "__main__":
    main()
