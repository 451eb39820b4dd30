from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from skimage import data

from facededup.errors import UsageError, WeightsMissingError
from facededup.faces.detect import DlibDetector, build_detector
from facededup.images.picture import Picture


@pytest.fixture(scope="module")
def detector():
    return build_detector("dlib")


@pytest.fixture(scope="module")
def face(detector, astronaut):
    (face,) = detector.detect(Picture.of(astronaut))
    return face


def scaled(image, scale):
    height, width = image.shape[:2]
    return np.asarray(Image.fromarray(image).resize((round(width * scale), round(height * scale))))


def centre(box):
    return np.array([box.x + box.w / 2, box.y + box.h / 2])


def test_the_face_of_a_known_picture(face):
    assert np.linalg.norm(centre(face.box) - (222, 115)) < 15
    assert 70 < face.box.w < 150
    assert abs(face.box.w - face.box.h) <= 2
    assert face.confidence > 0.5
    points = np.array(face.landmarks)
    assert points.shape == (5, 2)
    right_eye, left_eye, nose = points[:2].mean(axis=0), points[2:4].mean(axis=0), points[4]
    assert right_eye[0] > left_eye[0] + 30
    assert nose[1] > max(right_eye[1], left_eye[1]) + 15


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_face_is_found_and_mapped_back(detector, astronaut, face, turns):
    """np.rot90 turns counter-clockwise; the expected points are turned by the same rule, written out."""
    size = astronaut.shape[0]
    (turned,) = detector.detect(Picture.of(np.ascontiguousarray(np.rot90(astronaut, turns))))

    def turn(x, y):
        for _ in range(turns):
            x, y = y, size - 1 - x
        return x, y

    expected = np.array([turn(x, y) for x, y in face.landmarks])
    assert np.abs(np.array(turned.landmarks) - expected).max() < 5
    assert np.linalg.norm(centre(turned.box) - turn(*centre(face.box))) < 15


def test_a_turned_face_of_an_oblong_picture(detector, astronaut, face):
    oblong = astronaut[:300]
    (turned,) = detector.detect(Picture.of(np.ascontiguousarray(np.rot90(oblong, 1))))
    expected = [(y, 512 - 1 - x) for x, y in face.landmarks]
    assert np.abs(np.array(turned.landmarks) - expected).max() < 5


@pytest.mark.parametrize("scale", [0.4, 0.8, 2.0, 5.0])
def test_boxes_and_landmarks_are_in_pixels_of_the_image_given(detector, astronaut, face, scale):
    (found,) = detector.detect(Picture.of(scaled(astronaut[:300], scale)))
    assert np.linalg.norm(centre(found.box) / scale - centre(face.box)) < 15
    assert np.abs(np.array(found.landmarks) / scale - face.landmarks).max() < 5


def test_faces_come_from_left_to_right(detector, astronaut):
    three = np.concatenate([astronaut, astronaut, astronaut], axis=1)
    faces = detector.detect(Picture.of(three))
    assert [round(face.box.x / 512 - 0.35) for face in faces] == [0, 1, 2]
    column = np.concatenate([astronaut[:300], astronaut[:300]])
    assert [face.box.y > 300 for face in detector.detect(Picture.of(column))] == [False, True]


def test_everybody_on_a_photo_of_a_group_is_found(detector, astronaut, face):
    """Half of the faces are as small as the full look can see, the others smaller."""
    tiles = [scaled(astronaut[20:230, 120:330], width / face.box.w) for width in (310, 150)]
    canvas = np.full((2400, 4000, 3), 90, np.uint8)
    corners = [(x, y) for x in range(50, 3300, 800) for y in range(40, 1900, 740)]
    for number, (x, y) in enumerate(corners):
        tile = tiles[number % 2]
        canvas[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
    widths = sorted(found.box.w for found in detector.detect(Picture.of(canvas)))
    assert len(widths) == len(corners)
    assert 100 < widths[0] < 200 < widths[-1] < 400


def test_a_face_at_the_edge_has_a_box_beyond_the_image(detector, astronaut, face):
    cut = np.ascontiguousarray(astronaut[face.box.y + 12 :, : face.box.x + face.box.w + 60])
    found = min(detector.detect(Picture.of(cut)), key=lambda each: each.box.y)
    assert found.box.y < 0


@pytest.mark.parametrize("name", ["coffee", "rocket", "chelsea"])
def test_pictures_without_a_face(detector, name):
    assert detector.detect(Picture.of(np.ascontiguousarray(getattr(data, name)()))) == ()


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (5, 20_000), (79, 79)])
def test_odd_sizes_have_no_face(detector, shape):
    assert detector.detect(Picture.of(np.zeros((*shape, 3), np.uint8))) == ()


def test_a_read_only_image_will_do(detector, astronaut, face):
    frozen = astronaut.copy()
    frozen.flags.writeable = False
    assert detector.detect(Picture.of(frozen)) == (face,)


def test_an_unknown_detector_is_a_usage_error():
    with pytest.raises(UsageError, match="no detector 'nosuch'"):
        build_detector("nosuch")


def test_a_damaged_landmark_model(tmp_path, monkeypatch):
    broken = tmp_path / "broken.dat"
    broken.write_bytes(b"not a model")
    monkeypatch.setattr("facededup.faces.landmarks.find_weights", lambda _: str(broken))
    with pytest.raises(WeightsMissingError, match=r"broken\.dat is damaged"):
        DlibDetector()
