import os

import numpy as np
import pytest


@pytest.fixture(scope="module")
def deepface(tmp_path_factory):
    """The module deepface.DeepFace with our client registered, its folder of weights a temporary one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEEPFACE_HOME", str(tmp_path_factory.mktemp("deepface")))
        from deepface import DeepFace
        from deepface.modules import modeling

        from facededup.models.deepface_client import register

        patch.setitem(modeling.AVAILABLE_MODELS["facial_recognition"], "Dlib", {})
        register()
        yield DeepFace
        modeling.cached_models["facial_recognition"].pop("Dlib", None)


def represent(deepface, image):
    return deepface.represent(image, model_name="Dlib", detector_backend="skip")


def test_registry_gives_ours(deepface):
    from deepface.modules import modeling

    from facededup.models.deepface_client import DlibClient, register

    first = modeling.build_model("facial_recognition", "Dlib")
    assert type(first) is DlibClient
    assert modeling.build_model("facial_recognition", "Dlib") is first
    register()
    assert modeling.build_model("facial_recognition", "Dlib") is not first


def test_represent_equals_dlib(deepface, chips, dlib_descriptors):
    for chip, descriptor in zip(chips, dlib_descriptors, strict=True):
        (result,) = represent(deepface, np.ascontiguousarray(chip[..., ::-1]))
        np.testing.assert_allclose(result["embedding"], descriptor, rtol=0, atol=1e-5)


def test_represent_takes_batches(deepface, chips, dlib_descriptors):
    results = represent(deepface, [np.ascontiguousarray(chip[..., ::-1]) for chip in chips])
    embeddings = [result["embedding"] for (result,) in results]
    np.testing.assert_allclose(embeddings, dlib_descriptors, rtol=0, atol=1e-5)


def test_forward_takes_single_faces_bytes_and_fractions(deepface, chips, dlib_descriptors):
    from deepface.modules import modeling

    client = modeling.build_model("facial_recognition", "Dlib")
    assert (client.model_name, client.input_shape, client.output_shape) == ("Dlib", (150, 150), 128)
    face = chips[0][..., ::-1]
    for image in (face, face[None], face / 255, (face / 255).astype(np.float32)):
        embedding = client.forward(image)
        assert [type(number) for number in embedding] == [float] * 128
        np.testing.assert_allclose(embedding, dlib_descriptors[0], rtol=0, atol=1e-5)


def test_nothing_was_downloaded(deepface):
    weights = os.path.join(os.environ["DEEPFACE_HOME"], ".deepface", "weights")
    # DeepFace makes the folder when it is imported, which another test may have done elsewhere.
    assert not os.path.isdir(weights) or os.listdir(weights) == []
