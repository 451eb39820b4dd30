"""One frozen settings object, from the command line, the environment and a TOML file, in that order.

Values are plain; whether a model, detector or engine of that name exists is checked where it is used.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, get_type_hints

from facededup.errors import PathNotFoundError, UsageError

ENVIRONMENT_PREFIX = "FACEDEDUP_"
FACE_CHOICES = ("all", "largest", "center", "single")
CROP_CHOICES = (1, 2, 5)
INDEX_CHOICES = ("auto", "flat", "ivf", "hnsw")
CUTS = ("threshold", "max_false_pairs", "fmr")
"""Ways to say where the line is drawn; the last one given counts, and one place may give only one."""
SEARCH_ENGINE_CHOICES = ("auto", "faiss", "torch", "cupy")
PRECISION_CHOICES = ("float32", "float16")
CLUSTERING_CHOICES = ("average", "components", "chinese-whispers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything a run can be told. None means: not given, take the store's or the default.

    Attributes:
        store: Path or URL of the store.
        key_file: Holds the key of an encrypted store; without one, FACEDEDUP_KEY in the environment does.
        encrypt: Whether a new store is encrypted; given for one that is there, it must be as the store is.
        gpu: True demands a GPU, False forbids it, None takes one where it is usable.
        devices: Which GPUs, as the driver numbers them; empty for all.
        gpu_memory_limit: Megabytes of a GPU's memory the network may take; None for what it needs.
        detect_gpu: Find faces on a GPU, too, where the detector's library can.
        precision: What a GPU calculates in: `float32`, or `float16` where it changes no result.
        engine: `auto`, `onnx`, `tensorflow` or `pytorch`.
        model: Recognition model.
        detector: Face detector.
        align: How faces are cut out.
        flip: Average each face with its mirror.
        crops: Average so many vertical cuts of each face: 1, 2 or 5.
        faces: Which faces of an image are stored: `all`, `largest`, `center`, `single`.
        processes: Worker processes; None for one a core.
        batch_size: Faces an embedding batch; None lets the engine choose.
        follow_symlinks: Follow links inside the given folders.
        max_pixels: Images with more pixels are refused.
        image_timeout: Seconds one image may take in a worker before it is given up.
        worker_memory: Megabytes a worker may take on top of what it has at its start; None for any.
        reset: Drop what the command would otherwise add to.
        rehash: Read every file again, whatever its time stamp says.
        threshold: Lowest similarity of a pair.
        max_false_pairs: Instead of `threshold`: so many pairs of two people may be expected.
        fmr: Instead of `threshold`: the share of the pairs of two people that may be taken for one.
        min_quality: Faces of a lower quality score are left out of the pairs; None for no bound.
        normalize: Tell of each listed pair how far it stands out among the cosines with other people, too.
        confirm_model: A second model that scores the listed pairs near the threshold, too; None for none.
        confirm_band: How far above the threshold a similarity is near it.
        calibration: Path of a TOML file with the model's scale and curves; None for the store's.
        search_engine: What searches on a GPU: `faiss`, `torch`, `cupy`, or `auto`, the first that sees one.
        index: `auto`, `flat` (exact), `ivf` or `hnsw` (approximate, recall measured): how `find` searches.
        exact: Search exactly however long it takes; the same as index `flat`.
        recall: Part of the pairs an approximate search is tuned to find.
        clustering: `average` (linkage), `components` or `chinese-whispers`.
        manifest: Path of a CSV file that says what is known of each image, `-` for standard input.
        group_by: `parent`, `column:NAME` of the manifest, or a regular expression that finds a person's id in
            a path: images of one person, which are no duplicates of each other. None takes the manifest's
            column `group` where there is one, `none` does not.
        date_by: `mtime`, `column:NAME` of the manifest, or a regular expression that finds a date in a path:
            when an image came about, for the count of duplicates over time.
        against: Location of another store: `find` compares with its faces instead of the store's own.
        max_pairs: `find` stops before it stores more pairs than this.
        limit: How many pairs and clusters are listed; 0 for all.
        queue: Celery workers do the work.
        resume: Take up the queued job that an earlier run of this store left.
        chunk_images: Images in one task of the queue.
        worker_wait: Seconds without a sign of a worker before a queued job ends; 0 to wait for ever.
        broker_url: Of the queue.
        result_backend: Redis URL of jobs and results; None for the broker's.
        roots: Folders a worker may read below, separated as in PATH; None for any.
    """

    store: str = "facededup.h5"
    key_file: str | None = None
    encrypt: bool | None = None
    gpu: bool | None = None
    devices: tuple[int, ...] = ()
    gpu_memory_limit: int | None = None
    detect_gpu: bool = False
    precision: str = "float32"
    engine: str = "auto"
    model: str | None = None
    detector: str | None = None
    align: str | None = None
    flip: bool | None = None
    crops: int | None = None
    faces: str | None = None
    processes: int | None = None
    batch_size: int | None = None
    follow_symlinks: bool = False
    max_pixels: int = 178_956_970
    image_timeout: float = 120.0
    worker_memory: int | None = None
    reset: bool = False
    rehash: bool = False
    threshold: float = 0.4
    max_false_pairs: float | None = None
    fmr: float | None = None
    min_quality: float | None = None
    normalize: bool = False
    confirm_model: str | None = None
    confirm_band: float = 0.1
    calibration: str | None = None
    search_engine: str = "auto"
    index: str = "auto"
    exact: bool = False
    recall: float = 0.999
    clustering: str = "average"
    manifest: str | None = None
    group_by: str | None = None
    date_by: str = "mtime"
    against: str | None = None
    max_pairs: int = 50_000_000
    limit: int = 100_000
    queue: bool = False
    resume: bool = False
    chunk_images: int = 64
    worker_wait: float = 600.0
    broker_url: str | None = None
    result_backend: str | None = None
    roots: str | None = None

    def __post_init__(self) -> None:
        """Refuses values no part of the program could use."""
        if self.faces is not None and self.faces not in FACE_CHOICES:
            raise UsageError(f"faces must be one of {', '.join(FACE_CHOICES)}, not {self.faces!r}")
        if self.crops is not None and self.crops not in CROP_CHOICES:
            raise UsageError(f"crops must be one of {', '.join(map(str, CROP_CHOICES))}, not {self.crops}")
        for name, choices in (
            ("index", INDEX_CHOICES),
            ("clustering", CLUSTERING_CHOICES),
            ("precision", PRECISION_CHOICES),
            ("search_engine", SEARCH_ENGINE_CHOICES),
        ):
            if getattr(self, name) not in choices:
                raise UsageError(f"{name} must be one of {', '.join(choices)}, not {getattr(self, name)!r}")
        if self.exact and self.index in ("ivf", "hnsw"):
            raise UsageError(
                f"an exact search and --index {self.index} exclude each other: leave one of them out"
            )
        if not 0 < self.recall < 1:
            raise UsageError(f"recall must be between 0 and 1, not {self.recall}")
        for name in ("processes", "batch_size", "worker_memory", "gpu_memory_limit", "chunk_images"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, not {value}")
        for name in ("max_pixels", "max_pairs"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.limit < 0:
            raise UsageError(f"limit must be 0 or more, not {self.limit}")
        if not self.image_timeout > 0:
            raise UsageError(f"image_timeout must be above 0 seconds, not {self.image_timeout}")
        if not self.worker_wait >= 0:
            raise UsageError(f"worker_wait must be 0 seconds (for ever) or more, not {self.worker_wait}")
        if not -100 <= self.threshold <= 1:
            raise UsageError(f"threshold must be at most 1 (identical), not {self.threshold}")
        if self.min_quality is not None and not 0 <= self.min_quality <= 1:
            raise UsageError(f"min_quality must be between 0 and 1, not {self.min_quality}")
        if not self.confirm_band > 0:
            raise UsageError(f"confirm_band must be above 0, not {self.confirm_band}")
        if self.max_false_pairs is not None and self.fmr is not None:
            raise UsageError("max_false_pairs and fmr exclude each other: leave one of them out")
        if self.max_false_pairs is not None and not self.max_false_pairs > 0:
            raise UsageError(f"max_false_pairs must be above 0, not {self.max_false_pairs}")
        if self.fmr is not None and not 0 < self.fmr <= 1:
            raise UsageError(f"fmr must be a rate above 0 and up to 1, not {self.fmr}")

    @property
    def demands_gpu_search(self) -> bool:
        """Whether `find` is refused where it would search on the CPU."""
        half, named = self.precision == "float16", self.search_engine not in ("auto", "faiss")
        return bool(self.gpu or self.devices or half or named)


_OTHER_VARIABLES = ("key", "cache", "config")
"""Read from the environment where they are needed; no fields of `Settings`."""
_NEAR = 0.85
"""How like a known name an unknown one is before it counts as misspelt: other programs may have theirs."""
_TYPES = get_type_hints(Settings)
_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text in quotes"}
_NAMES = tuple(item.name for item in fields(Settings))


def load_settings(
    overrides: Mapping[str, Any],
    *,
    config: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """Builds the settings of one run.

    Args:
        overrides: What the command line gave, by field name; None values count as not given.
        config: Path of a TOML file whose keys are field names (hyphens allowed).
        environment: Defaults to `os.environ`; `FACEDEDUP_THRESHOLD` sets `threshold`, and so on.

    Raises:
        PathNotFoundError: There is no such file.
        UsageError: A key or value in the file, the environment or `overrides` cannot be used.
    """
    environment = os.environ if environment is None else environment
    texts = {name: environment.get(ENVIRONMENT_PREFIX + name.upper()) for name in _NAMES}
    layers = (
        _from_file(config) if config is not None else {},
        {name: _parse(name, text) for name, text in texts.items() if text is not None},
        {name: value for name, value in overrides.items() if value is not None},
    )
    values: dict[str, Any] = {}
    for layer in layers:
        _refuse_two_cuts(layer)
        if not layer.keys().isdisjoint(CUTS):
            values = {name: value for name, value in values.items() if name not in CUTS}
        values.update(layer)
    return Settings(**values)


def misspelt_variables(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables that look like a setting's and are none, each with the one that was probably meant.

    Args:
        environment: Defaults to `os.environ`.
    """
    environment = os.environ if environment is None else environment
    known = {ENVIRONMENT_PREFIX + name.upper() for name in (*_NAMES, *_OTHER_VARIABLES)}
    unknown = [name for name in environment if name.startswith(ENVIRONMENT_PREFIX) and name not in known]
    if not unknown:
        return {}
    import difflib

    near = {name: difflib.get_close_matches(name, known, n=1, cutoff=_NEAR) for name in unknown}
    return {name: matches[0] for name, matches in near.items() if matches}


def chosen_settings(settings: Settings | None, options: Mapping[str, Any]) -> Settings:
    """Given settings with options on top; without settings, the environment counts.

    Raises:
        UsageError: An option, or a value in the environment, cannot be used.
    """
    return load_settings(options) if settings is None else replace(settings, **options)


def _refuse_two_cuts(layer: Mapping[str, Any]) -> None:
    given = [name.replace("_", "-") for name in CUTS if name in layer]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other: leave {given[-1]} out, or the others")


def read_toml(path: str, what: str) -> dict[str, Any]:
    """A TOML file as plain values.

    Args:
        path: Of the file.
        what: It is, for the sentence that says what is wrong.

    Raises:
        PathNotFoundError: It is not there.
        UsageError: It cannot be read, or is not TOML.
    """
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except FileNotFoundError as exc:
        raise PathNotFoundError(f"there is no {what} {path!r}") from exc
    except OSError as exc:
        raise UsageError(f"the {what} {path!r} cannot be read: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise UsageError(f"the {what} {path!r} is not TOML: {exc}") from exc


def _from_file(path: str) -> dict[str, Any]:
    values = {}
    for key, value in read_toml(path, "configuration file").items():
        name = key.replace("-", "_")
        if name not in _NAMES:
            raise UsageError(
                f"the configuration file {path!r} has an unknown key {key!r}"
                f"{_meant(name)}: keys are named as the options of the command line"
            )
        values[name] = _check(name, value, f"in {path!r}")
    return values


def _meant(name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, _NAMES, n=1, cutoff=_NEAR)
    return f", perhaps meant as {near[0]!r}" if near else ""


def _kind(name: str) -> type:
    """The plain type behind `int | None` and the like."""
    hint = _TYPES[name]
    options = [option for option in getattr(hint, "__args__", (hint,)) if option is not type(None)]
    return tuple if name == "devices" else options[0]


def _check(name: str, value: Any, where: str) -> Any:
    kind = _kind(name)
    if kind is tuple:
        if isinstance(value, list) and all(type(item) is int and item >= 0 for item in value):
            return tuple(value)
        raise UsageError(f"{name} {where} must be a list of GPU numbers, not {value!r}")
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise UsageError(f"{name} {where} must be {_KINDS[kind]}, not {value!r}")
    return value


def _parse(name: str, text: str) -> Any:
    kind = _kind(name)
    where = f"in the environment ({ENVIRONMENT_PREFIX}{name.upper()})"
    if kind is tuple:
        return parse_devices(text)
    if kind is bool:
        words = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
        if text.lower() not in words:
            raise UsageError(f"{name} {where} must be true or false, not {text!r}")
        return words[text.lower()]
    try:
        return kind(text)
    except ValueError as exc:
        raise UsageError(f"{name} {where} must be a number, not {text!r}") from exc


def parse_devices(text: str) -> tuple[int, ...]:
    """`0,1` as (0, 1).

    Raises:
        UsageError: Not a list of numbers.
    """
    try:
        devices = tuple(int(part) for part in text.split(","))
    except ValueError:
        devices = (-1,)
    if any(device < 0 for device in devices):
        raise UsageError(f"devices must be GPU numbers such as 0,1, not {text!r}")
    return devices
