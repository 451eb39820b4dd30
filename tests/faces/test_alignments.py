"""The three alignments: which goes with what, and that DeepFace's is DeepFace's to the last digit."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from facededup.errors import UsageError, WeightsMissingError
from facededup.faces.align import build_aligner, choose_alignment
from facededup.faces.detect import build_detector
from facededup.images.picture import Picture
from facededup.models.catalog import MODELS, describe_detector, describe_model
from facededup.models.encoder import Encoder
from facededup.models.engine import open_engine
from facededup.types import Box, Face


def chosen(model, detector, given=None):
    return choose_alignment(given, describe_model(model), describe_detector(detector))


def test_each_model_has_its_own_alignment_where_the_landmarks_allow_it():
    assert chosen("Dlib", "dlib") == "chip"
    assert chosen("Dlib", "mtcnn") == chosen("Facenet", "dlib") == "deepface"
    for model in ("ArcFace", "SFace", "GhostFaceNet", "Buffalo_L"):
        assert chosen(model, "dlib") == chosen(model, "retinaface") == "arcface"
        assert chosen(model, "yunet") == chosen(model, "skip") == "deepface"


def test_what_cannot_work_is_a_usage_error():
    assert chosen("Facenet", "dlib", "chip") == "chip"
    with pytest.raises(UsageError, match="no alignment 'box'; choose one of chip, arcface, deepface"):
        chosen("Dlib", "dlib", "box")
    with pytest.raises(UsageError, match=r"chip needs landmarks.*retinaface does not.*--detector dlib,"):
        chosen("Dlib", "retinaface", "chip")
    with pytest.raises(
        UsageError, match=r"arcface needs.*--detector dlib or retinaface, or --align deepface"
    ):
        build_aligner("arcface", "skip", "ArcFace")


@pytest.mark.parametrize("align", ["chip", "arcface", "deepface"])
def test_chips_have_the_size_each_model_takes(astronaut, align):
    image = np.ascontiguousarray(np.tile(astronaut[:300, 40:440], (1, 2, 1)))
    faces = build_detector("dlib", align).detect(Picture.of(image))
    for model in MODELS:
        chips = build_aligner(align, "dlib", model.name)(image, faces)
        width, height = model.input_size
        assert (chips.shape, chips.dtype) == ((2, height, width, 3), np.uint8)
        if align != "deepface":  # whose crop follows the box, which the detector moves in steps
            assert np.abs(chips[0].astype(int) - chips[1]).mean() < 10  # the same face twice
        assert min(chips[0].std(), chips[1].std()) > 30


@pytest.fixture(scope="module")
def encoder():
    return Encoder(open_engine(describe_model("Dlib")))


@pytest.fixture
def represent(dlib_weights):
    """`DeepFace.represent` with dlib's own model and detector, no part of it ours."""
    from deepface import DeepFace
    from deepface.modules import modeling

    modeling.cached_models = {task: {} for task in modeling.AVAILABLE_MODELS}

    def call(image, detector):
        answers = DeepFace.represent(
            np.ascontiguousarray(image[..., ::-1]), model_name="Dlib", detector_backend=detector
        )
        answers.sort(key=lambda answer: answer["facial_area"]["x"])
        return np.array([answer["embedding"] for answer in answers])

    yield call
    modeling.cached_models = {task: {} for task in modeling.AVAILABLE_MODELS}


def embedded(image, detector, encoder):
    faces = build_detector(detector, "deepface").detect(Picture.of(image))
    return encoder.embed(build_aligner("deepface", detector, "Dlib")(image, faces))


def turned(image):
    return np.asarray(Image.fromarray(image).rotate(17, Image.Resampling.BICUBIC))


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image,
        turned,
        lambda image: np.concatenate([image, turned(image)], axis=1),
        lambda image: image[60:, 110:250],  # the face touches the edges
    ],
    ids=["upright", "turned", "two", "cut"],
)
def test_dlib_by_deepface_has_deepfaces_numbers(represent, encoder, astronaut, change):
    image = np.ascontiguousarray(change(astronaut[:300, 40:440]))
    theirs, ours = represent(image, "dlib"), embedded(image, "dlib", encoder)
    assert len(theirs) >= 1
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


def test_skip_has_deepfaces_numbers(represent, encoder, astronaut):
    image = astronaut[:301, 50:400]
    ours = embedded(image, "skip", encoder)
    np.testing.assert_allclose(ours, represent(image, "skip"), rtol=0, atol=1e-5)


@pytest.mark.lfw
def test_real_faces_have_deepfaces_numbers(represent, encoder, lfw):
    for path in sorted(lfw.glob("*/*.jpg"))[7::1600]:
        image = np.asarray(Image.open(path).convert("RGB"))
        np.testing.assert_allclose(
            embedded(image, "dlib", encoder), represent(image, "dlib"), rtol=0, atol=1e-5
        )


def test_a_detector_without_eyes_needs_opencvs_cascades(weights_folder):
    with pytest.raises(WeightsMissingError, match=r"deepface.*ssd.*needs the file haarcascade.*fetch opencv"):
        build_aligner("deepface", "ssd", "Dlib")


def test_a_model_that_takes_fractions_gets_the_nearest_whole_values(astronaut):
    """All of a grey ramp's steps: cut off they would lie half a step too low on average."""
    ramp = np.repeat(np.tile(np.linspace(0, 255, 112).astype(np.uint8), (112, 1))[..., None], 3, axis=2)
    face = Face(Box(0, 0, 112, 112), 0.0)
    assert np.array_equal(build_aligner("deepface", "skip", "ArcFace")(ramp, (face,))[0], ramp)
