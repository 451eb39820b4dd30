"""Finds image files in folders."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from facededup.errors import JobError, PathNotFoundError, UsageError
from facededup.images.read import explain, file_stat
from facededup.types import FileStat

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".heic", ".heif", ".avif"}
)
"""What is taken for an image by its name, in lower case. Where HEIF cannot be decoded, each says so."""
_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})


@dataclass(frozen=True, slots=True)
class FoundFile:
    """One image file.

    Attributes:
        path: Absolute, links unresolved, as `os.fsdecode` gives it.
        root: The given folder (or file) under which it was found, absolute.
        stat: What the file system said of it (of the target, for a followed link).
    """

    path: str
    root: str
    stat: FileStat


class ImageWalk:
    """The image files under some paths; iterating walks, and fills `unreadable` and `links_skipped`.

    Files of a folder come before its subfolders, both sorted by name, so the order is the same on every run.

    Attributes:
        unreadable: (path, reason) of folders, links and files that could not be looked at, so far.
        links_skipped: Links that were not followed, so far: to folders, and what is named like an image.
    """

    def __init__(self, roots: Sequence[str], *, follow_symlinks: bool) -> None:
        self.unreadable: list[tuple[str, str]] = []
        self.links_skipped = 0
        self._roots = roots
        self._follow = follow_symlinks
        self._folders_done: set[str] = set()
        self._files_done: set[str] = set()

    def __iter__(self) -> Iterator[FoundFile]:
        self.unreadable.clear()
        self.links_skipped = 0
        self._folders_done.clear()
        self._files_done.clear()
        for root in self._roots:
            try:
                status = os.stat(root)
            except OSError as exc:
                self.unreadable.append((root, explain(exc)))
                continue
            if stat.S_ISDIR(status.st_mode):
                yield from self._walk(root, (status.st_dev, status.st_ino))
            elif root not in self._files_done and not self._was_walked(root):
                self._files_done.add(root)
                yield FoundFile(root, root, file_stat(status))

    def _was_walked(self, path: str) -> bool:
        """Whether a file given as a PATH came already, inside a folder given before."""
        return (
            os.path.dirname(path) in self._folders_done
            and self._is_image(path)
            and (self._follow or not os.path.islink(path))
        )

    def _is_image(self, name: str) -> bool:
        return os.path.splitext(name)[1].lower() in EXTENSIONS

    def _walk(self, root: str, identity: tuple[int, int]) -> Iterator[FoundFile]:
        """Walks one root with an explicit stack: the depth of folders is not bounded by Python's."""
        stack: list[tuple[tuple[int, int], Iterator[str]]] = []
        folder: str | None = root
        while True:
            if folder is not None and folder not in self._folders_done:
                self._folders_done.add(folder)
                files, subfolders = self._list(folder)
                yield from self._files(files, root)
                stack.append((identity, iter(subfolders)))
            if not stack:
                return
            folder = next(stack[-1][1], None)
            if folder is None:
                stack.pop()
                continue
            try:
                status = os.stat(folder)
            except OSError as exc:
                self.unreadable.append((folder, explain(exc)))
                folder = None
                continue
            identity = (status.st_dev, status.st_ino)
            if any(identity == above for above, _ in stack):
                folder = None  # a followed link that leads back to a folder it lies in

    def _list(self, folder: str) -> tuple[list[str], list[str]]:
        """The paths of a folder's images and of its subfolders."""
        files, subfolders = [], []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    try:
                        is_folder = entry.is_dir(follow_symlinks=self._follow)
                        is_skipped_link = not self._follow and entry.is_symlink()
                        if is_skipped_link:
                            self.links_skipped += self._is_image(entry.name) or entry.is_dir()
                        elif is_folder:
                            subfolders.append(entry.path)
                        elif self._is_image(entry.name):
                            files.append(entry.path)
                    except OSError as exc:
                        self.unreadable.append((entry.path, explain(exc)))
        except OSError as exc:
            self.unreadable.append((folder, explain(exc)))
        return sorted(files), sorted(subfolders)

    def _files(self, paths: list[str], root: str) -> Iterator[FoundFile]:
        for path in paths:
            if path in self._files_done:
                continue
            try:
                status = os.stat(path, follow_symlinks=self._follow)
            except FileNotFoundError:
                if os.path.islink(path):
                    self.unreadable.append((path, "link to nothing"))
                continue
            except PermissionError as exc:  # the folder may be listed but not entered
                self.unreadable.append((os.path.dirname(path), explain(exc)))
                return
            except OSError as exc:
                self.unreadable.append((path, explain(exc)))
                continue
            if stat.S_ISREG(status.st_mode):
                yield FoundFile(path, root, file_stat(status))
            else:
                self.unreadable.append((path, "not a regular file"))


def find_images(paths: Sequence[str], *, follow_symlinks: bool) -> ImageWalk:
    """Prepares a walk over files and folders.

    A given path may itself be a link. A given file is taken whatever its extension; inside folders only the
    usual extensions of images are, in any letter case, hidden ones included. A path that is reached twice,
    because the given ones overlap, comes once.

    Args:
        paths: Files and folders, relative or absolute, as `os.fsdecode` gives them.
        follow_symlinks: Follow links inside the given folders; one that leads back to a folder it lies in is
            not entered.

    Raises:
        PathNotFoundError: A given path does not exist.
        UsageError: A given path is neither a file nor a folder.
        JobError: A given path cannot be looked at.
    """
    for path in paths:
        _check(path)
    return ImageWalk([_absolute(path) for path in paths], follow_symlinks=follow_symlinks)


def find_mount(path: str) -> str:
    """The mount point that holds a path; of one that is gone, that of the nearest folder still there."""
    path = os.path.realpath(path)
    while not os.path.ismount(path):
        path = os.path.dirname(path)
    return path


def _check(path: str) -> None:
    """Refuses a given path that cannot be walked."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as exc:
        if isinstance(exc, OSError) and exc.errno not in _NOT_THERE:
            raise JobError(f"{path!r} cannot be read ({explain(exc)}); check its permissions") from exc
        raise PathNotFoundError(f"there is no file or folder {path!r}; check the spelling") from exc
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise UsageError(f"{path!r} is neither a file nor a folder; give files or folders of images")


def _absolute(path: str) -> str:
    """Absolute with links kept, unless `..` after a link makes the textual answer another file."""
    absolute = os.path.abspath(path)
    try:
        return absolute if os.path.samefile(absolute, path) else os.path.realpath(path)
    except OSError:
        return os.path.realpath(path)
