"""Weights files of random numbers in the formats DeepFace loads, made by DeepFace's own builders.

DeepFace's ONNX files are whole networks, which cannot be had offline: small random networks with the same
inputs and outputs stand in for them.
"""

from __future__ import annotations

import importlib
import os
import warnings

import numpy as np
import pytest

from facededup.models.weights import deepface_weights_directory

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # before TensorFlow is imported, as DeepFace needs it


def write_weights(model, engine):
    """Writes the file the engine loads into DeepFace's folder, and returns its path."""
    path = os.path.join(deepface_weights_directory(), model.weights_files[engine])
    os.makedirs(os.path.dirname(path), exist_ok=True)
    writers = {"onnx": write_onnx, "pytorch": write_pytorch, "tensorflow": write_tensorflow}
    writers[engine](model, path)
    return path


def write_onnx(model, path, *, batch="n", held=False):
    """A convolution, a global average pool and a projection. `held`: so is the batch size, deep inside."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    numbers = np.random.default_rng(0)
    width, height = model.input_size
    channels_first = model.name in ("SFace", "Buffalo_L")
    if model.name == "SFace":
        batch = 1
    # Colours and places weigh differently: a wrong order of either shows.
    tensors = {
        "kernel": numbers.normal(size=(16, 3, 8, 8)).astype(np.float32),
        "projection": numbers.normal(size=(16, model.dimension)).astype(np.float32),
        "shape": np.array([1, 16] if held else [-1, 16]),
    }
    nodes = (
        [] if channels_first else [helper.make_node("Transpose", ["chips"], ["pixels"], perm=[0, 3, 1, 2])]
    )
    pixels = "chips" if channels_first else "pixels"
    nodes += [
        helper.make_node("Conv", [pixels, "kernel"], ["features"], strides=[8, 8]),
        helper.make_node("Relu", ["features"], ["active"]),
        helper.make_node("GlobalAveragePool", ["active"], ["pooled"]),
        helper.make_node("Reshape", ["pooled", "shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "projection"], ["embeddings"]),
    ]
    shape = [batch, 3, height, width] if channels_first else [batch, height, width, 3]
    graph = helper.make_graph(
        nodes,
        "random",
        [helper.make_tensor_value_info("chips", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, [batch, model.dimension])],
        [numpy_helper.from_array(values, name) for name, values in tensors.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)


def write_pytorch(description, path):
    import torch

    def save(model, weight_file):
        norms = [layer for layer in model.modules() if hasattr(layer, "running_mean")]
        if norms:  # as after a training: else the features fade from layer to layer and all faces look alike
            for layer in norms:
                layer.momentum = None  # a plain mean
            width, height = description.input_size
            with torch.no_grad():
                model.train()(torch.rand(8, 3, height, width))
        else:
            for name, values in model.named_parameters():
                if name.endswith("bias"):
                    torch.nn.init.zeros_(values)
        torch.save(model.state_dict(), weight_file)
        return model.eval()

    torch.manual_seed(0)
    build(description, "pytorch", path, save)


def write_tensorflow(description, path):
    import tensorflow as tf

    def save(model, weight_file):
        for layer in model.layers:
            layer.momentum = 0  # of batch norms, see above
        width, height = description.input_size
        model(tf.random.uniform((8, height, width, 3)), training=True)
        model.save_weights(weight_file)
        return model

    tf.random.set_seed(0)
    build(description, "tensorflow", path, save)


def build(model, engine, path, save):
    """Builds the network with DeepFace's code, `save` in the place of loading the weights."""
    from deepface.commons import weight_utils

    module, client = deepface_client(model, engine)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr(weight_utils, "download_weights_if_necessary", lambda **_: path)
        patch.setattr(module if engine == "pytorch" else weight_utils, "load_model_weights", save)
        client()


def deepface_client(model, engine):
    """The module and the class of DeepFace's client."""
    from deepface.modules import modeling

    sources = modeling.AVAILABLE_MODELS["facial_recognition"][model.name]
    module_name, _, name = (sources.get(engine) or sources["any"]).rpartition(".")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = importlib.import_module(module_name)
    if (model.name, engine) == ("DeepFace", "tensorflow"):
        module.tf_minor = 12  # its client refuses later ones, on which Keras 2 still works
    return module, getattr(module, name)
