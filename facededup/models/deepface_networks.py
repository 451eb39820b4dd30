"""DeepFace's own networks, built and filled with weights by DeepFace's own code."""

from __future__ import annotations

import importlib
from typing import Any

from facededup.models.catalog import ModelDescription
from facededup.models.weights import find_weights


def build_network(model: ModelDescription, engine: str) -> Any:
    """The network inside DeepFace's client of a model.

    DeepFace's `build_model` would take the one framework it settled on for the process; its registry, which
    that function reads, has a client for each.

    Args:
        model: Any but Dlib.
        engine: `tensorflow` or `pytorch`.

    Returns:
        A Keras model or a PyTorch module that takes BGR from 0 to 1 in the framework's own order of axes.

    Raises:
        WeightsMissingError: They are not on this machine; DeepFace would download them.
        Exception: Whatever DeepFace and the framework raise over weights they cannot use.
    """
    find_weights(model.weights_files[engine])
    from deepface.modules import modeling

    source: str = modeling.AVAILABLE_MODELS["facial_recognition"][model.name][engine]
    module_name, _, client_name = source.rpartition(".")
    module = importlib.import_module(module_name)
    if (model.name, engine) == ("DeepFace", "tensorflow"):
        # The client refuses every TensorFlow after 2.12; with tf-keras its network is built all the same.
        return module.load_model()
    return getattr(module, client_name)().model
