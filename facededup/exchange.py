"""`export` and `import`: pairs and embeddings out as tables for other programs, embeddings in.

The table of faces has a row a face of an image, copies included: `path`, `face`, `x`, `y`, `w`, `h`,
`confidence`, `digest` (SHA-256 of the file, hexadecimal), `tags` (a JSON object, where a manifest said
something) and `embedding`; what made the embeddings goes along
as JSON under `fingerprint` (not in CSV). The table of pairs has the columns of `find --csv` but for the
cluster, all pairs of the store and in no order. What `import` reads is the table of faces.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import numpy as np

from facededup.copies import Copies
from facededup.csv_rows import csv_writer
from facededup.errors import (
    JobError,
    PackageMissingError,
    PathNotFoundError,
    SettingMismatchError,
    StoreNotFoundError,
    UsageError,
)
from facededup.listing import Listing
from facededup.manifest import decode_tags, encode_tags, tag_columns, tag_heading
from facededup.settings import Settings
from facededup.store.base import DIGEST_BYTES, Batch, Content, Fingerprint, ImageRecord, Snapshot
from facededup.store.files import disk
from facededup.store.opener import open_store
from facededup.tagging import note_columns
from facededup.types import Array, Box, Face, FileStat, Floats, Outcome

FORMATS = ("parquet", "csv", "npz")
COLUMNS = ("path", "face", "x", "y", "w", "h", "confidence", "digest", "tags", "embedding")
"""What `import` takes of a table; others are passed over."""
BLOCK = 65_536
BATCH_IMAGES = 1_000

Columns = dict[str, Array]

_NO_ROWS = np.empty(0, np.int64)
_NO_NUMBERS = np.empty(0, np.int32)
_NO_PAIRS = (_NO_ROWS, _NO_NUMBERS, _NO_ROWS, _NO_NUMBERS, np.empty(0), np.empty(0, np.bool_))
"""So that a table without rows has its columns."""


def export_table(settings: Settings, path: str, *, what: str, form: str) -> int:
    """Writes all pairs of the last findings, or all faces with their embeddings, as a table.

    Args:
        settings: Of the run.
        path: The file, replaced in one step.
        what: `pairs` or `faces`.
        form: One of `FORMATS`; npz holds the whole table in memory.

    Returns:
        Rows written.

    Raises:
        UsageError: There is no such table or format, or no findings; the path is no file.
        StoreNotFoundError: There is no store.
        PackageMissingError: Parquet without pyarrow.
        JobError: The file cannot be written.
    """
    if form not in FORMATS:
        raise UsageError(
            f"the format must be one of {', '.join(FORMATS)}, not {form!r}: name the file accordingly, or "
            f"give --format"
        )
    if what not in ("pairs", "faces"):
        raise UsageError(f"--what must be pairs or faces, not {what!r}")
    # Put in the place of a device, the table would destroy it.
    if path == "-" or (os.path.exists(path) and not os.path.isfile(path)):
        raise UsageError(f"export makes a file, and {path!r} is none: give a name such as pairs.csv")
    write = {"parquet": _write_parquet, "csv": _write_csv, "npz": _write_npz}[form]
    with open_store(settings.store, settings.key_file).snapshot() as snapshot:
        blocks = _pairs(snapshot) if what == "pairs" else _faces(snapshot)
        with _replacing(path) as temporary:
            return write(temporary, blocks, snapshot.fingerprint)


def import_faces(settings: Settings, path: str) -> tuple[int, int]:
    """Takes embeddings made elsewhere by the same model into a store.

    Vectors are normalised. A path already in the store is replaced where the digest differs. A row without a
    digest gets one of its path and embeddings, so `index` reads such an image again.

    Args:
        settings: Of the run; the store may be a new one where the file says what made the embeddings.
        path: A .npz or .parquet file.

    Returns:
        Images and faces taken.

    Raises:
        PathNotFoundError: There is no such file.
        UsageError: It is not such a table.
        SettingMismatchError: Something else made its embeddings than those of the store.
        PackageMissingError: Parquet without pyarrow.
    """
    if not os.path.isfile(path):
        raise PathNotFoundError(f"there is no file {path!r}")
    columns, made_by = _read(path)
    _check(columns, path)
    store = open_store(settings.store, settings.key_file, encrypt=settings.encrypt)
    if store.exists():
        with store.snapshot() as snapshot:
            _compare(snapshot.fingerprint, made_by, columns["embedding"], path)
    elif made_by is None:
        raise StoreNotFoundError(
            f"there is no store {store.location!r}, and {path!r} does not say what made its embeddings: "
            f"add `fingerprint` to it as `export` writes it, or make the store with `facededup index` first"
        )
    else:
        _compare(made_by, made_by, columns["embedding"], path)
    images = _images(columns)
    with store.writer(made_by) as writer:
        for start in range(0, len(images), BATCH_IMAGES):
            some = images[start : start + BATCH_IMAGES]
            contents = {content.digest: content for _, content in some}
            writer.commit(Batch(images=tuple(i for i, _ in some), contents=tuple(contents.values())))
        note_columns(writer, tag_columns(image.tags for image, _ in images))
    return len(images), len(columns["embedding"])


def _pairs(snapshot: Snapshot) -> Iterator[Columns]:
    findings = snapshot.findings()
    if findings is None:
        raise UsageError("the store has no findings to export: run `facededup find` first")
    listing = Listing(snapshot, findings, float(findings.meta["operating_cosine"]))
    paths = np.array([os.fsdecode(path) for path in listing.images.path], np.object_)
    columns = snapshot.info.get("tag_columns", [])
    for image_a, number_a, image_b, number_b, cosine, new in chain([_NO_PAIRS], listing.all_pairs()):
        yield {
            "a_path": paths[image_a],
            "a_face": number_a,
            "b_path": paths[image_b],
            "b_face": number_b,
            "similarity": listing.similarities(cosine),
            "cosine": cosine,
            "new": new,
            **_said(listing, columns, image_a, image_b),
        }


def _said(listing: Listing, columns: Sequence[str], image_a: Array, image_b: Array) -> Columns:
    """What manifests say of either image of some pairs."""
    said = {}
    for side, images in (("a", image_a), ("b", image_b)) if columns else ():
        tags = [listing.tags(row) for row in images.tolist()]
        for name in columns:
            said[tag_heading(side, name)] = np.array([some.get(name, "") for some in tags], np.object_)
    return said


def _faces(snapshot: Snapshot) -> Iterator[Columns]:
    images, faces = snapshot.images, snapshot.faces
    copies = Copies(images, faces)
    paths = np.array([os.fsdecode(path) for path in images.path], np.object_)
    tagged = bool(snapshot.info.get("tag_columns"))
    for start in range(0, max(1, len(faces)), BLOCK):
        stop = min(start + BLOCK, len(faces))
        rows = [copies.rows(image) for image in faces.image[start:stop].tolist()]
        face = np.repeat(np.arange(start, stop), [len(row) for row in rows])
        image = np.concatenate([np.empty(0, np.int64), *rows])
        yield {
            "path": paths[image],
            "face": faces.number[face],
            **{name: faces.box[face, place] for place, name in enumerate("xywh")},
            "confidence": faces.confidence[face],
            "digest": np.array([images.digest[row].tobytes().hex() for row in image.tolist()], np.object_),
            **(
                {"tags": np.array([images.tags[row] for row in image.tolist()], np.object_)} if tagged else {}
            ),
            "embedding": snapshot.embeddings(start, stop)[face - start],
        }


def _write_csv(path: str, blocks: Iterator[Columns], _made_by: Fingerprint) -> int:
    rows, headed = 0, False
    with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        table = csv_writer(file)
        for block in blocks:
            flat = _flat(block)
            if not headed:
                table.writerow(flat)
                headed = True
            table.writerows(zip(*(column.tolist() for column in flat.values()), strict=True))
            rows += _length(block)
    return rows


def _flat(block: Columns) -> Columns:
    """With a column for each coordinate of an embedding."""
    plain = {name: column for name, column in block.items() if column.ndim == 1}
    vectors = block.get("embedding", np.empty((0, 0)))
    return plain | {f"e{place}": vectors[:, place] for place in range(vectors.shape[1])}


def _write_npz(path: str, blocks: Iterator[Columns], made_by: Fingerprint) -> int:
    kept = list(blocks)
    columns = {name: np.concatenate([block[name] for block in kept]) for name in kept[0]}
    # Strings of Python objects would be pickled; bytes keep names that are not UTF-8.
    plain = {
        name: np.array([os.fsencode(value) for value in column], np.bytes_)
        if column.dtype == np.object_
        else column
        for name, column in columns.items()
    }
    with open(path, "wb") as file:
        np.savez(file, fingerprint=np.array(json.dumps(made_by.to_dict())), **plain)  # type: ignore[arg-type]
    return _length(columns)


def _write_parquet(path: str, blocks: Iterator[Columns], made_by: Fingerprint) -> int:
    arrow, parquet = _pyarrow()
    rows, writer = 0, None
    try:
        for block in blocks:
            table = arrow.table({name: _arrow_column(arrow, column) for name, column in block.items()})
            if writer is None:
                said = {"fingerprint": json.dumps(made_by.to_dict())}
                writer = parquet.ParquetWriter(path, table.schema.with_metadata(said))
            writer.write_table(table.cast(writer.schema))
            rows += _length(block)
    finally:
        if writer is not None:
            writer.close()
    return rows


def _arrow_column(arrow: Any, column: Array) -> Any:
    if column.ndim == 2:
        return arrow.FixedSizeListArray.from_arrays(arrow.array(column.ravel()), column.shape[1])
    if column.dtype == np.object_:
        # Binary: a name need not be UTF-8.
        return arrow.array([os.fsencode(value) for value in column], arrow.binary())
    return arrow.array(column)


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as exc:
        raise PackageMissingError(
            "Parquet needs pyarrow: run pip install 'facededup[parquet]', or take another format"
        ) from exc
    return pa, parquet


def _length(block: Mapping[str, Array]) -> int:
    return len(next(iter(block.values()), np.empty(0)))


def _read(path: str) -> tuple[Columns, Fingerprint | None]:
    if path.endswith(".csv"):
        raise UsageError(
            f"{path!r} is CSV, and import takes .npz or .parquet: `export --what faces` writes both"
        )
    read = _read_parquet if path.endswith(".parquet") else _read_npz
    columns, said = read(path)
    return columns, None if said is None else _fingerprint(said, path)


def _fingerprint(said: str | bytes, path: str) -> Fingerprint:
    try:
        made_by = Fingerprint(**json.loads(said))
    except (TypeError, ValueError, RecursionError) as exc:
        raise UsageError(f"the fingerprint in {path!r} is not one that `export` writes: {exc}") from exc
    kinds: dict[str, type] = {"dimension": int, "flip": bool, "crops": int}
    for name, value in made_by.to_dict().items():
        if type(value) is not kinds.get(name, str):
            raise UsageError(f"the fingerprint in {path!r} is not one that `export` writes: {name} {value!r}")
    return made_by


def _read_npz(path: str) -> tuple[Columns, str | None]:
    try:
        with np.load(path, allow_pickle=False) as file:
            columns = {name: file[name] for name in COLUMNS if name in file.files}
            said = str(file["fingerprint"]) if "fingerprint" in file.files else None
    except Exception as exc:
        raise UsageError(f"{path!r} is not an .npz or .parquet table of embeddings: {exc}") from exc
    return columns, said


def _read_parquet(path: str) -> tuple[Columns, bytes | None]:
    arrow, parquet = _pyarrow()
    try:
        table = parquet.read_table(path)
        columns = {
            name: np.array(table[name].to_pylist(), np.object_)
            for name in COLUMNS[:-1]
            if name in table.column_names
        }
        if "embedding" in table.column_names:
            columns["embedding"] = _vectors(table["embedding"].combine_chunks())
    except (arrow.ArrowException, OSError, ValueError) as exc:
        raise UsageError(f"{path!r} is not a Parquet table of embeddings: {exc}") from exc
    return columns, (table.schema.metadata or {}).get(b"fingerprint")


def _vectors(column: Any) -> Array:
    """A column of lists as (n, d).

    Raises:
        ValueError, ArrowException: They are no lists of numbers, or of different lengths.
    """
    from pyarrow import compute

    lengths = compute.list_value_length(column).unique().to_pylist() or [1]
    if len(lengths) > 1 or lengths[0] is None:
        raise ValueError("its embeddings have different lengths")
    vectors: Array = column.flatten().to_numpy(zero_copy_only=False)
    return vectors.reshape(len(column), lengths[0])


def _check(columns: Columns, path: str) -> None:
    """Finds what would make garbage; normalises the embeddings, makes texts bytes and numbers whole ones."""
    vectors = columns.get("embedding")
    if vectors is None or "path" not in columns or vectors.ndim != 2 or vectors.dtype.kind not in "fiu":
        raise UsageError(f"{path!r} needs the columns `path` and `embedding` (a row of numbers a face)")
    for name, column in columns.items():
        if name != "embedding" and column.shape != (len(vectors),):
            raise UsageError(f"`{name}` in {path!r} must have a value for each embedding")
    for name in ("path", "digest", "tags"):
        if name in columns:
            columns[name] = _texts(columns[name], name, path)
    for name in ("face", *"xywh"):
        if name in columns:
            columns[name] = _whole(columns[name], name, path)
    if "confidence" in columns:
        columns["confidence"] = _floats(columns["confidence"], "confidence", path)
    if any(not name or b"\0" in name for name in columns["path"]):
        raise UsageError(f"a `path` in {path!r} is empty or no file name")
    wide = vectors.astype(np.float64)
    with np.errstate(over="ignore"):
        lengths = np.linalg.norm(wide, axis=1)
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        raise UsageError(f"an embedding in {path!r} is all zeros or not finite")
    columns["embedding"] = (wide / lengths[:, None]).astype(np.float32)


def _texts(column: Array, name: str, path: str) -> Array:
    """As bytes, nothing as none."""
    try:
        return np.array([os.fsencode("" if value is None else value) for value in column], np.object_)
    except (TypeError, UnicodeEncodeError) as exc:
        raise UsageError(f"`{name}` in {path!r} must be texts") from exc


def _floats(column: Array, name: str, path: str) -> Array:
    try:
        return column.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as exc:
        raise UsageError(f"`{name}` in {path!r} must be numbers") from exc


def _whole(column: Array, name: str, path: str) -> Array:
    numbers = _floats(column, name, path)
    if not (np.abs(numbers) < 1 << 31).all() or (numbers % 1).any():
        raise UsageError(f"`{name}` in {path!r} must be whole numbers below 2,147,483,648")
    return numbers.astype(np.int64)


def _compare(own: Fingerprint, given: Fingerprint | None, vectors: Floats, path: str) -> None:
    if given is not None and given != own:
        differing = [name for name, value in own.to_dict().items() if given.to_dict()[name] != value]
        raise SettingMismatchError(
            f"the embeddings in {path!r} were made with another {' and '.join(differing)} than the store's: "
            f"import them into another --store"
        )
    if len(vectors) and vectors.shape[1] != own.dimension:
        raise SettingMismatchError(
            f"the embeddings in {path!r} have {vectors.shape[1]} numbers and the store's {own.dimension}: "
            f"they are not of the same model"
        )


def _images(columns: Columns) -> list[tuple[ImageRecord, Content]]:
    """The images of the rows, each with its content."""
    paths = [os.path.abspath(path) for path in columns["path"]]
    numbers = columns.get("face", np.zeros(len(paths), np.int64))
    order = sorted(range(len(paths)), key=lambda row: (paths[row], int(numbers[row])))
    images = []
    for first, last in _runs([paths[row] for row in order]):
        rows = order[first:last]
        vectors = columns["embedding"][rows]
        digest = _digest(columns, rows, paths[rows[0]], vectors)
        faces = tuple(_face(columns, row) for row in rows)
        folder = os.path.dirname(paths[rows[0]])
        record = ImageRecord(
            path=paths[rows[0]],
            root=folder,
            mount=b"/",
            stat=FileStat(0, 0, 0, 0),
            digest=digest,
            outcome=Outcome.OK,
            tags=_tags(columns, rows[0]),
        )
        images.append((record, Content(digest, faces, vectors)))
    return images


def _runs(names: list[bytes]) -> Iterator[tuple[int, int]]:
    start = 0
    for place in range(1, len(names) + 1):
        if place == len(names) or names[place] != names[start]:
            yield start, place
            start = place


def _digest(columns: Columns, rows: list[int], path: bytes, vectors: Floats) -> bytes:
    given = columns["digest"][rows[0]] if "digest" in columns else b""
    if not given:
        return hashlib.sha256(path + b"\0" + vectors.tobytes()).digest()
    try:
        digest = bytes.fromhex(os.fsdecode(given))
    except ValueError:
        digest = b""
    if len(digest) != DIGEST_BYTES or not any(digest):
        raise UsageError("a `digest` must be the SHA-256 of the file in hexadecimal digits")
    return digest


def _tags(columns: Columns, row: int) -> str:
    text = os.fsdecode(columns["tags"][row]) if "tags" in columns else ""
    try:
        tags = decode_tags(text)
        os.fsencode("".join([*tags, *tags.values()]))
    except (ValueError, AttributeError, RecursionError) as exc:
        raise UsageError(f"`tags` must be JSON objects of texts, not {text[:100]!r}") from exc
    return encode_tags(tags)


def _face(columns: Columns, row: int) -> Face:
    box = Box(*(int(columns[name][row]) if name in columns else 0 for name in "xywh"))
    return Face(box, float(columns["confidence"][row]) if "confidence" in columns else 0.0)


@contextmanager
def _replacing(path: str) -> Iterator[str]:
    """A name to write to; what is there in the end takes the place of `path` in one step."""
    temporary = f"{os.path.realpath(path)}.{os.getpid()}.tmp"
    try:
        yield temporary
        with open(temporary, "rb") as file:
            disk.flush(file.fileno())
        os.replace(temporary, os.path.realpath(path))
    except OSError as exc:
        raise JobError(f"cannot write {path!r}: {exc.strerror or exc}") from exc
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)
