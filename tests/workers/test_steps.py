from __future__ import annotations

import hashlib
import io
import os
import pickle
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from facededup.errors import UsageError
from facededup.faces.align import cut_chip
from facededup.faces.quality import measure_quality
from facededup.images.decode import decode
from facededup.images.phash import perceptual_hash
from facededup.images.walk import find_images
from facededup.types import Outcome
from facededup.workers.pool import Pool
from facededup.workers.steps import Analyser, AnalysisSettings, ImageTask, digest_prefix

LFW = Path(os.environ.get("FACEDEDUP_LFW") or Path(__file__).parents[3] / "shared" / "lfw")


def settings(**changes):
    values = {"detector": "dlib", "align": "chip", "faces": "all", "max_pixels": 2_000_000} | changes
    return AnalysisSettings(**values)


def save(path, image, **options):
    Image.fromarray(image).save(path, **options)
    return ImageTask(os.fsdecode(path), os.path.dirname(os.fsdecode(path)))


@pytest.fixture(scope="module")
def analyse():
    return Analyser(settings())


@pytest.fixture(scope="module")
def astronaut():
    return np.ascontiguousarray(data.astronaut())


def test_an_image_with_a_face(analyse, astronaut, tmp_path):
    task = save(tmp_path / "a.png", astronaut)
    analysis = analyse(task)
    content = Path(task.path).read_bytes()
    assert (analysis.task, analysis.outcome, analysis.reason) == (task, Outcome.OK, "")
    assert (analysis.known, analysis.retry) == (False, False)
    assert analysis.digest == hashlib.sha256(content).digest()
    assert analysis.stat.size == len(content)
    assert (analysis.width, analysis.height) == (512, 512)
    assert len(analysis.faces) == 1
    assert np.array_equal(analysis.chips[0], cut_chip(astronaut, analysis.faces[0]))
    assert analysis.faces[0].quality == measure_quality(analysis.faces[0], analysis.chips[0], "dlib")
    assert analysis.phash == perceptual_hash(astronaut)
    assert set(analysis.seconds) == {"decode", "detect", "align"}
    assert all(spent > 0 for spent in analysis.seconds.values())


def test_no_face_and_several(astronaut, tmp_path):
    none = save(tmp_path / "none.png", np.ascontiguousarray(data.coffee()))
    two = save(tmp_path / "two.png", np.concatenate([astronaut[:300], astronaut[:300]], axis=1))
    single = Analyser(settings(faces="single"))
    analysis = single(none)
    assert (analysis.outcome, analysis.reason) == (Outcome.NO_FACE_DETECTED, "no face was found")
    assert (analysis.width, len(analysis.chips)) == (600, 0)
    analysis = single(two)
    assert (analysis.outcome, analysis.reason) == (Outcome.MULTIPLE_FACES_DETECTED, "2 faces were found")
    assert (analysis.faces, len(analysis.chips)) == ((), 0)
    assert len(Analyser(settings(faces="largest"))(two).chips) == 1
    assert Analyser(settings())(two).chips.shape == (2, 150, 150, 3)


def test_a_known_content_is_not_decoded_unless_forced(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"would be refused if it were decoded")
    digest = hashlib.sha256(path.read_bytes()).digest()
    known = np.array(sorted([1, digest_prefix(digest), 2**64 - 1]), np.uint64)
    analyse = Analyser(settings(known=known))
    analysis = analyse(ImageTask(str(path), str(tmp_path)))
    assert (analysis.known, analysis.outcome, analysis.digest) == (True, Outcome.OK, digest)
    assert (analysis.reason, analysis.width) == ("", 0)
    forced = analyse(ImageTask(str(path), str(tmp_path), force=True))
    assert (forced.known, forced.outcome) == (False, Outcome.FILE_ERROR)
    path.write_bytes(b"another content")
    assert not analyse(ImageTask(str(path), str(tmp_path))).known


def jpeg(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG")
    return buffer.getvalue()


def test_bad_content_is_remembered(analyse, astronaut, tmp_path):
    bad = {
        b"": "empty file",
        b"some text": "not an image of a format that can be read",
        jpeg(astronaut)[:9000]: "truncated image",
        jpeg(
            np.zeros((1500, 1500, 3), np.uint8)
        ): "image has 2,250,000 pixels, more than the 2,000,000 of --max-pixels",
    }
    for content, reason in bad.items():
        path = tmp_path / "x.jpg"
        path.write_bytes(content)
        analysis = analyse(ImageTask(str(path), str(tmp_path)))
        assert (analysis.outcome, analysis.reason) == (Outcome.FILE_ERROR, reason)
        assert not analysis.retry
        assert analysis.digest == hashlib.sha256(content).digest()
        assert analysis.stat.size == len(content)


def test_bad_circumstances_are_tried_again(analyse, astronaut, tmp_path):
    save(tmp_path / "a.png", astronaut)
    (found,) = find_images([str(tmp_path)], follow_symlinks=False)
    os.remove(found.path)
    analysis = analyse(ImageTask(found.path, found.root))
    assert (analysis.outcome, analysis.reason) == (Outcome.FILE_ERROR, "file vanished")
    assert analysis.retry
    assert (analysis.stat, analysis.digest) == (None, b"")


def test_a_file_longer_than_any_image_is_not_read(analyse, tmp_path):
    path = tmp_path / "huge.tif"
    with open(path, "wb") as file:
        file.truncate(1 << 36)
    analysis = analyse(ImageTask(str(path), str(tmp_path)))
    assert analysis.reason == f"file has {1 << 36} bytes, more than the limit of 32000000"
    assert (analysis.outcome, analysis.retry) == (Outcome.FILE_ERROR, False)


def test_tiny_and_very_wide_images_have_no_face(analyse, tmp_path):
    for shape in ((1, 1, 3), (30, 20_000, 3)):
        analysis = analyse(save(tmp_path / "x.jpg", np.full(shape, 99, np.uint8)))
        assert analysis.outcome is Outcome.NO_FACE_DETECTED
        assert (analysis.height, analysis.width) == shape[:2]


def test_every_orientation_gives_the_same_face(analyse, astronaut, tmp_path):
    operations = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    upright, faces = Image.fromarray(astronaut[:300]), []
    for orientation, operation in operations.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = upright if operation is None else upright.transpose(operation)
        path = tmp_path / f"{orientation}.png"
        stored.save(path, exif=exif.tobytes())
        faces.append(analyse(ImageTask(str(path), str(tmp_path))).faces)
    assert len(faces[0]) == 1
    assert all(each == faces[0] for each in faces)


def test_odd_names(analyse, astronaut, tmp_path):
    for name in (b"with space.png", b"quo'te\".png", b"new\nline.png", b"\xff\xfe.png"):
        path = os.path.join(os.fsencode(tmp_path), name)
        with open(path, "wb") as file:
            Image.fromarray(astronaut[::2, ::2]).save(file, "PNG")
        analysis = pickle.loads(pickle.dumps(analyse(ImageTask(os.fsdecode(path), str(tmp_path)))))
        assert os.fsencode(analysis.task.path) == path
        assert analysis.outcome is Outcome.OK


def test_unknown_names_are_usage_errors():
    with pytest.raises(UsageError, match="no alignment 'nosuch'"):
        Analyser(settings(align="nosuch"))
    with Pool(Analyser, settings(detector="nosuch"), 1) as pool:
        with pytest.raises(UsageError, match="no detector 'nosuch'"):
            list(pool.run([ImageTask("x", "y")]))


def same(a, b):
    return (a.outcome, a.faces, a.digest) == (b.outcome, b.faces, b.digest) and np.array_equal(
        a.chips, b.chips
    )


@pytest.mark.lfw
@pytest.mark.skipif(not LFW.is_dir(), reason=f"no images in {LFW}")
def test_the_pool_finds_what_one_process_finds_on_real_faces(analyse):
    paths = sorted(str(path) for path in LFW.glob("*/*.jpg"))[::160]
    tasks = [ImageTask(path, str(LFW)) for path in paths]
    with Pool(Analyser, settings(), 2) as pool:
        analyses = {task.path: analysis for task, analysis in pool.run(tasks)}
    assert len(analyses) == len(tasks)
    assert all(same(analyses[task.path], analyse(task)) for task in tasks)
    assert sum(analysis.outcome is Outcome.OK for analysis in analyses.values()) >= 0.97 * len(tasks)


def corners(box):
    return np.array([box.x, box.y, box.x + box.w, box.y + box.h])


def on_grey(pixels, size, corner):
    canvas = np.full((*size, 3), 90, np.uint8)
    canvas[corner[0] : corner[0] + len(pixels), corner[1] : corner[1] + pixels.shape[1]] = pixels
    return canvas


@pytest.fixture(scope="module")
def large_photos(astronaut):
    large = np.asarray(Image.fromarray(astronaut[:300]).resize((2400, 1406)))
    return {
        "large face": large,
        "small face": on_grey(astronaut[:300], (1800, 2400), (600, 900)),
        "large face turned": np.ascontiguousarray(np.rot90(large)),
    }


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("name", ["large face", "small face", "large face turned"])
def test_a_large_photo_gives_what_its_full_size_gives(large_photos, name, suffix, tmp_path, monkeypatch):
    """From reduced copies or the whole: the same face, in pixels of the whole, and as good as the same."""
    pixels = large_photos[name]
    task = save(tmp_path / f"large{suffix}", pixels, **({"quality": 92} if suffix == ".jpg" else {}))
    reduced = Analyser(settings(max_pixels=10**7))(task)
    for module in ("decode", "picture"):
        monkeypatch.setattr(f"facededup.images.{module}.reduction_for", lambda *_: 1)
    whole = Analyser(settings(max_pixels=10**7))(task)
    assert (reduced.width, reduced.height) == (whole.width, whole.height) == pixels.shape[1::-1]
    (face,), (expected,) = reduced.faces, whole.faces
    assert np.abs(np.array(face.landmarks) - expected.landmarks).max() < 0.02 * expected.box.w
    assert np.abs(corners(face.box) - corners(expected.box)).max() < 0.1 * expected.box.w
    assert np.abs(reduced.chips.astype(int) - whole.chips).mean() < 4
    assert face.quality.size == pytest.approx(expected.quality.size, abs=0.05)


def test_a_small_face_in_a_large_photo_is_cut_from_the_full_size(large_photos, astronaut, tmp_path):
    """It is as sharp as the same face in a small photo."""
    small = Analyser(settings())(save(tmp_path / "small.png", astronaut[:300]))
    large = Analyser(settings(max_pixels=10**7))(save(tmp_path / "large.png", large_photos["small face"]))
    (face,), (expected,) = large.faces, small.faces
    assert np.abs(np.array(face.landmarks) - np.array(expected.landmarks) - (900, 600)).max() < 3
    assert face.quality.sharpness == pytest.approx(expected.quality.sharpness, rel=0.2)


def test_time_for_copies_counts_as_decoding(large_photos, tmp_path):
    """The full size, decoded only when a small face was seen, takes longer than the copy it was seen in."""
    task = save(tmp_path / "small.jpg", large_photos["small face"], quality=92)
    analyse = Analyser(settings(max_pixels=10**7))
    analyse(task)
    started = time.perf_counter()
    seconds = analyse(task).seconds
    assert sum(seconds.values()) <= time.perf_counter() - started
    started = time.perf_counter()
    decode(Path(task.path).read_bytes(), max_pixels=10**7)
    assert seconds["decode"] > 0.5 * (time.perf_counter() - started)
