"""The options that several commands share, each declared once, by the heading they have in the help."""

from __future__ import annotations

from facededup.cli.options.encoder import EncoderOptions, ModelOptions
from facededup.cli.options.images import ManifestOptions, ReadingOptions
from facededup.cli.options.output import (
    CsvOptions,
    JsonOptions,
    LimitOptions,
    MetricsOptions,
    ReportOptions,
    SheetOptions,
    TalkOptions,
)
from facededup.cli.options.queue import QueuedIndexOptions, QueueOptions
from facededup.cli.options.request import Request, takes
from facededup.cli.options.search import AgainstOptions, SearchOptions
from facededup.cli.options.speed import (
    BatchOptions,
    DeviceOptions,
    EngineOptions,
    GpuSearchOptions,
    WorkerOptions,
)
from facededup.cli.options.store import (
    ConfigOptions,
    NewStoreOptions,
    ResetFindingsOptions,
    ResetIndexOptions,
    StoreOptions,
)

__all__ = [
    "AgainstOptions",
    "BatchOptions",
    "ConfigOptions",
    "CsvOptions",
    "DeviceOptions",
    "EncoderOptions",
    "EngineOptions",
    "GpuSearchOptions",
    "JsonOptions",
    "LimitOptions",
    "ManifestOptions",
    "MetricsOptions",
    "ModelOptions",
    "NewStoreOptions",
    "QueueOptions",
    "QueuedIndexOptions",
    "ReadingOptions",
    "ReportOptions",
    "Request",
    "ResetFindingsOptions",
    "ResetIndexOptions",
    "SearchOptions",
    "SheetOptions",
    "StoreOptions",
    "TalkOptions",
    "WorkerOptions",
    "takes",
]
