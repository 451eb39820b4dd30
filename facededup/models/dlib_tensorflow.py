"""dlib's network in TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from facededup.models.dlib_resnet import Block, Convolution, Network

Layer = Callable[[Any], Any]


def build_dlib(network: Network) -> Layer:
    """The network as a function of tensors; its weights are on the device in force.

    Args:
        network: The description.

    Returns:
        Takes uint8 (n, 150, 150, 3) RGB, gives float32 (n, 128), not normalised.
    """
    import tensorflow as tf

    def convolution(layer: Convolution) -> Layer:
        weight = tf.constant(layer.weight.transpose(2, 3, 1, 0))
        bias = tf.constant(layer.bias)
        # SAME pads one pixel on each side of a 3x3 window of stride 1, the only padding there is.
        padding = "SAME" if layer.padding else "VALID"
        return lambda x: tf.nn.bias_add(tf.nn.conv2d(x, weight, layer.stride, padding), bias)

    def residual(block: Block) -> Layer:
        first, second = convolution(block.first), convolution(block.second)

        def forward(x: Any) -> Any:
            y = second(tf.nn.relu(first(x)))
            if block.down:
                x = tf.nn.avg_pool2d(x, 2, 2, "VALID")
                x, y = padded(x, y), padded(y, x)
            return tf.nn.relu(y + x)

        return forward

    def padded(x: Any, other: Any) -> Any:
        """`x` with zeros at the end of each axis in which `other` is longer."""
        missing = [max(0, theirs - own) for own, theirs in zip(x.shape[1:], other.shape[1:], strict=True)]
        return tf.pad(x, [(0, 0), *((0, count) for count in missing)])

    stem = convolution(network.stem)
    blocks = [residual(block) for block in network.blocks]
    projection = tf.constant(network.projection)

    def forward(chips: Any) -> Any:
        x = tf.nn.max_pool2d(tf.nn.relu(stem(tf.cast(chips, tf.float32))), 3, 2, "VALID")
        for block in blocks:
            x = block(x)
        return tf.reduce_mean(x, (1, 2)) @ projection

    return forward
