"""`demo`: a small set of pictures, and the whole job on it, offline."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from facededup.cli.jobs import show_findings, show_index
from facededup.cli.options import DeviceOptions, Request, WorkerOptions, takes
from facededup.cli.text import shown
from facededup.errors import JobError
from facededup.pictures import FACELESS, PEOPLE, Picture, open_picture

if TYPE_CHECKING:
    from PIL.Image import Image


@takes(DeviceOptions, WorkerOptions)
def demo(
    request: Request,
    folder: Annotated[
        str, typer.Argument(metavar="DIR", help="Where to write the pictures and the store.")
    ] = "demo",
) -> None:
    """Try it on a small set of pictures, offline.

    Two people, six pictures of each, three pictures without a face, a damaged file and a copy. What is there
    already stays as it is, so a second run finds nothing new.
    """
    from facededup import api

    pictures = os.path.join(folder, "pictures")
    try:
        write_pictures(pictures)
    except OSError as exc:
        raise JobError(f"cannot write the pictures to {pictures!r}: {exc.strerror or exc}") from exc
    store = os.path.join(folder, "facededup.h5")
    settings = replace(request.settings, store=store, encrypt=False)
    show_index(request, api.index([pictures], settings=settings, progress=request.progress))
    request.out.print()
    show_findings(request, api.find(settings=settings, progress=request.progress))
    probe = shlex.quote(os.path.join(pictures, "hopper-dark.jpg"))
    where = f"--store {shlex.quote(store)}"
    request.out.print(f"\nNext: {shown(f'facededup search {probe} {where}')}", soft_wrap=True)
    request.out.print(f"      {shown(f'facededup review {where}')}", soft_wrap=True)


def write_pictures(folder: str) -> None:
    """Writes those of the seventeen pictures that are missing.

    Raises:
        PackageMissingError: scikit-image or matplotlib is not installed.
        OSError: A picture cannot be written.
    """
    os.makedirs(folder, exist_ok=True)
    for name, write in _pictures(folder):
        path = os.path.join(folder, name)
        if not os.path.exists(path):
            # A demo that was stopped half way must not leave half a picture.
            temporary = f"{path}.tmp"
            write(temporary)
            os.replace(temporary, path)


def _pictures(folder: str) -> Iterator[tuple[str, Callable[[str], None]]]:
    for person, source in PEOPLE.items():
        for variant, (change, quality) in _VARIANTS.items():
            yield f"{person}-{variant}.jpg", _saver(source, change, quality)
    for name, source in FACELESS.items():
        yield f"{name}.jpg", _saver(source, _same, 92)
    original = os.path.join(folder, "hopper-original.jpg")
    yield "damaged-file.jpg", lambda path: _truncate(original, path)
    yield "copy-of-hopper-original.jpg", lambda path: _copy(original, path)


def _saver(source: Picture, change: Callable[[Image], Image], quality: int) -> Callable[[str], None]:
    def save(path: str) -> None:
        change(open_picture(source)).save(path, "JPEG", quality=quality)

    return save


def _truncate(source: str, path: str) -> None:
    with open(source, "rb") as file:
        content = file.read()
    with open(path, "wb") as file:
        file.write(content[: len(content) // 3])


def _copy(source: str, path: str) -> None:
    shutil.copyfile(source, path)


def _same(image: Image) -> Image:
    return image


def _mirror(image: Image) -> Image:
    from PIL import ImageOps

    return ImageOps.mirror(image)


def _half(image: Image) -> Image:
    return image.resize((image.width // 2, image.height // 2))


def _dark(image: Image) -> Image:
    from PIL import ImageEnhance

    return ImageEnhance.Brightness(image).enhance(0.5)


def _turn(image: Image) -> Image:
    from PIL.Image import Resampling

    return image.rotate(10, resample=Resampling.BICUBIC)


_VARIANTS: dict[str, tuple[Callable[[Image], Image], int]] = {
    "original": (_same, 92),
    "mirrored": (_mirror, 92),
    "half-size": (_half, 92),
    "dark": (_dark, 92),
    "turned": (_turn, 92),
    "low-quality": (_same, 15),
}
