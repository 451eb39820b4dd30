"""dlib's network in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from facededup.models.dlib_resnet import Block, Convolution, Network

Layer = Callable[[Any], Any]


def build_dlib(network: Network, place: Any) -> Layer:
    """The network as a function of tensors.

    Args:
        network: The description.
        place: The torch.device of its weights.

    Returns:
        Takes uint8 (n, 3, 150, 150) RGB, gives float32 (n, 128), not normalised.
    """
    import torch
    from torch.nn import functional

    def convolution(layer: Convolution) -> Layer:
        weight = torch.tensor(layer.weight, device=place).contiguous(memory_format=torch.channels_last)
        bias = torch.tensor(layer.bias, device=place)
        return lambda x: functional.conv2d(x, weight, bias, layer.stride, layer.padding)

    def residual(block: Block) -> Layer:
        first, second = convolution(block.first), convolution(block.second)

        def forward(x: Any) -> Any:
            y = second(first(x).relu_())
            if block.down:
                x = functional.avg_pool2d(x, 2)
                x, y = padded(x, y), padded(y, x)
            return (y + x).relu_()

        return forward

    def padded(x: Any, other: Any) -> Any:
        """`x` with zeros at the end of each axis in which `other` is longer."""
        channels, rows, columns = (
            max(0, theirs - own) for own, theirs in zip(x.shape[1:], other.shape[1:], strict=True)
        )
        return functional.pad(x, (0, columns, 0, rows, 0, channels))

    stem = convolution(network.stem)
    blocks = [residual(block) for block in network.blocks]
    projection = torch.tensor(network.projection, device=place)

    def forward(chips: Any) -> Any:
        x = functional.max_pool2d(stem(chips.float()).relu_(), 3, 2)
        for block in blocks:
            x = block(x)
        return x.mean((2, 3)) @ projection

    return forward
