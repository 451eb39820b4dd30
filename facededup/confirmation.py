"""A second model's word on the pairs near the threshold: `find --confirm-model`.

It sees the photos anew, so a slow and careful way to embed is affordable: only the faces of those pairs, each
as the mean over five cuts and their mirrors. Its score stands beside the similarity and never replaces it.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from facededup.calibration import choose_calibration
from facededup.contents import StoredPhotos
from facededup.errors import UsageError
from facededup.faces.align import build_aligner, choose_alignment
from facededup.images.decode import pillow_limits
from facededup.listing import Listing, PairList, Rows
from facededup.matching.flat import exact_cosine
from facededup.metrics import Metrics
from facededup.models.catalog import describe_detector, describe_model
from facededup.models.scores import similarity
from facededup.progress import Progress
from facededup.recipe import choose_fingerprint, open_encoder
from facededup.results import Confirmation, SecondScores
from facededup.settings import Settings
from facededup.store.base import Fingerprint
from facededup.store.opener import open_store
from facededup.types import Face, Floats, Pixels

_FACES_AT_ONCE = 64
_PAIRS_AT_ONCE = 4096


def check_second_model(settings: Settings, name: str) -> None:
    """Opens the second model of a search to come, so that what it lacks shows before hours of indexing.

    Args:
        settings: Of the run; its store may be a new one.
        name: The model's.

    Raises:
        FacededupError: See `SecondModel`, or the store cannot be opened.
    """
    store = open_store(settings.store, settings.key_file)
    existing = None
    if store.exists() and not settings.reset:
        with store.snapshot() as snapshot:
            existing = snapshot.fingerprint
    SecondModel(settings, name, choose_fingerprint(settings, existing, store.location))


class SecondModel:
    """A model that looks again at stored faces."""

    def __init__(self, settings: Settings, name: str, fingerprint: Fingerprint) -> None:
        """Opens it.

        Args:
            settings: Of the run.
            name: The model's.
            fingerprint: What made the embeddings of the store; its detector found the faces.

        Raises:
            UsageError: There is no such model, or it is the one of the store, embedding as carefully.
            WeightsMissingError: Its weights are not on this machine.
            NoGpuError: A GPU was demanded and the engine sees none.
        """
        model, detector = describe_model(name), describe_detector(fingerprint.detector)
        made = replace(
            fingerprint,
            model=model.name,
            weights=model.weights,
            dimension=model.dimension,
            align=choose_alignment(None, model, detector),
            flip=True,
            crops=5,
        )
        if made == fingerprint:
            raise UsageError(
                f"the store was made with {model.name}, five cuts and their mirrors, as a second look would "
                f"be: give --confirm-model another model"
            )
        self.name = model.name
        self.operating_cosine = choose_calibration(Settings(), made, {}).operating_cosine
        self._dimension = model.dimension
        self._max_pixels = settings.max_pixels
        self._align = build_aligner(made.align, detector.name, model.name)
        self._needs_landmarks = made.align != "deepface"
        self._encoder = open_encoder(made, settings, threads=os.cpu_count() or 1, few=True)

    def confirm(
        self,
        listing: Listing,
        pairs: PairList,
        *,
        threshold: float,
        band: float,
        metrics: Metrics,
        progress: Progress,
    ) -> tuple[Confirmation, SecondScores]:
        """Scores the listed pairs near the threshold; their scores go into `pairs.second`, too.

        Args:
            listing: Of the findings.
            pairs: Those listed.
            threshold: Of the search.
            band: Pairs less similar than this above the threshold are near it.
            metrics: Receives the timing.
            progress: Receives the advance.
        """
        metrics.engine = self._encoder.engine.name
        metrics.devices["embed"] = self._encoder.engine.device
        metrics.versions.update(self._encoder.engine.versions)
        near = np.flatnonzero(listing.similarities(pairs.columns[4]) <= threshold + band)
        a, b = (rows[near] for rows in pairs.face_rows())
        faces, place = np.unique(np.concatenate((a, b)), return_inverse=True)
        vectors = self._embed(listing, faces, metrics, progress)
        cosines = np.empty(len(near))
        for start in range(0, len(near), _PAIRS_AT_ONCE):
            part = slice(start, start + _PAIRS_AT_ONCE)
            left, right = vectors[place[: len(a)][part]], vectors[place[len(a) :][part]]
            cosines[part] = exact_cosine(left, right)
        pairs.second = np.full(len(pairs), np.nan)
        pairs.second[near] = similarity(cosines, self.operating_cosine)
        said = Confirmation(
            model=self.name,
            operating_cosine=self.operating_cosine,
            band=band,
            near=len(near),
            confirmed=int((cosines >= self.operating_cosine).sum()),
            unread=int(np.isnan(cosines).sum()),
        )
        ids = listing.faces.id
        return said, SecondScores(model=self.name, a=ids[a], b=ids[b], similarity=pairs.second[near])

    def _embed(self, listing: Listing, rows: Rows, metrics: Metrics, progress: Progress) -> Floats:
        """float32 (n, dimension), L2-normalised, a row for each face; NaN where it cannot be seen again."""
        vectors = np.full((len(rows), self._dimension), np.nan, np.float32)
        progress.start("confirm", len(rows))
        for places, chips in self._chips(listing, rows):
            with metrics.timed("embed", len(places)):
                vectors[places] = self._encoder.encode(chips)
            progress.advance(len(places))
        progress.finish()
        return vectors

    def _chips(self, listing: Listing, rows: Rows) -> Iterator[tuple[list[int], Pixels]]:
        """Faces cut out of their photos, in batches, with their places in `rows`."""
        photos = StoredPhotos(listing.images, listing.copies, self._max_pixels)
        images = listing.faces.image[rows]
        order = np.argsort(images, kind="stable").tolist()
        places: list[int] = []
        chips: list[Pixels] = []
        for image, group in itertools.groupby(order, key=lambda place: int(images[place])):
            with pillow_limits():
                photo = photos.read(image)
            if photo is None:
                continue
            seen = [(place, listing.faces.record(int(rows[place]))) for place in group]
            seen = [(place, face) for place, face in seen if self._can_cut(face, photo.pixels)]
            if not seen:
                continue
            places += [place for place, _ in seen]
            chips.append(self._align(photo.pixels, tuple(face for _, face in seen)))
            if len(places) >= _FACES_AT_ONCE:
                yield places, np.concatenate(chips)
                places, chips = [], []
        if places:
            yield places, np.concatenate(chips)

    def _can_cut(self, face: Face, pixels: Pixels) -> bool:
        """Whether the numbers can be those of a face in that photo; an import or damage may hold any."""
        height, width = pixels.shape[:2]
        box, most = face.box, 4 * max(height, width)
        in_photo = -box.w < box.x < width and -box.h < box.y < height
        if not (1 <= box.w <= most and 1 <= box.h <= most and in_photo):
            return False
        points = np.array(face.landmarks)
        if len(points) != 5:
            return not self._needs_landmarks
        return bool(np.all(np.abs(points) < most) and np.ptp(points, axis=0).max() > 1)
