"""Find the same person enrolled twice in a large folder of images."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from facededup.api import (
        add_decision,
        apply_findings,
        compare,
        copy_store,
        diagnose,
        evaluate,
        export_decisions,
        find,
        forget,
        import_decisions,
        index,
        list_decisions,
        list_models,
        move_root,
        pack,
        search,
        store_status,
        undo_apply,
        verify,
        write_contact_sheets,
        write_report,
    )
    from facededup.errors import FacededupError
    from facededup.evaluation.pipeline import EvaluateResult
    from facededup.file_actions import Undone
    from facededup.results import (
        ApplyResult,
        ApplyStep,
        Check,
        ComparedImage,
        CompareResult,
        Confirmation,
        CopyResult,
        DecisionEntry,
        DecisionImport,
        Diagnosis,
        FacePair,
        FindResult,
        ForgetResult,
        ImageCounts,
        IndexResult,
        MoveResult,
        PackResult,
        SearchResult,
        StoreStatus,
        VerifyResult,
    )
    from facededup.settings import Settings, load_settings
    from facededup.types import (
        Box,
        Cluster,
        ClusterFace,
        Decision,
        Face,
        FaceKey,
        FaceRef,
        Match,
        Outcome,
        Pair,
        Unencoded,
    )

__version__ = "0.1.0"

_HOMES = {
    "facededup.api": (
        "add_decision",
        "apply_findings",
        "compare",
        "copy_store",
        "diagnose",
        "evaluate",
        "export_decisions",
        "find",
        "forget",
        "import_decisions",
        "index",
        "list_decisions",
        "list_models",
        "move_root",
        "pack",
        "search",
        "store_status",
        "undo_apply",
        "verify",
        "write_contact_sheets",
        "write_report",
    ),
    "facededup.errors": ("FacededupError",),
    "facededup.evaluation.pipeline": ("EvaluateResult",),
    "facededup.file_actions": ("Undone",),
    "facededup.results": (
        "ApplyResult",
        "ApplyStep",
        "Check",
        "CompareResult",
        "Confirmation",
        "CopyResult",
        "DecisionEntry",
        "DecisionImport",
        "Diagnosis",
        "ComparedImage",
        "FacePair",
        "FindResult",
        "ForgetResult",
        "ImageCounts",
        "IndexResult",
        "MoveResult",
        "PackResult",
        "SearchResult",
        "StoreStatus",
        "VerifyResult",
    ),
    "facededup.settings": ("Settings", "load_settings"),
    "facededup.types": (
        "Box",
        "Cluster",
        "ClusterFace",
        "Decision",
        "Face",
        "FaceKey",
        "FaceRef",
        "Match",
        "Outcome",
        "Pair",
        "Unencoded",
    ),
}

__all__ = [
    "ApplyResult",
    "ApplyStep",
    "Box",
    "Check",
    "Cluster",
    "ClusterFace",
    "CompareResult",
    "ComparedImage",
    "Confirmation",
    "CopyResult",
    "Decision",
    "DecisionEntry",
    "DecisionImport",
    "Diagnosis",
    "EvaluateResult",
    "Face",
    "FaceKey",
    "FacePair",
    "FaceRef",
    "FacededupError",
    "FindResult",
    "ForgetResult",
    "ImageCounts",
    "IndexResult",
    "Match",
    "MoveResult",
    "Outcome",
    "PackResult",
    "Pair",
    "SearchResult",
    "Settings",
    "StoreStatus",
    "Undone",
    "Unencoded",
    "VerifyResult",
    "add_decision",
    "apply_findings",
    "compare",
    "copy_store",
    "diagnose",
    "evaluate",
    "export_decisions",
    "find",
    "forget",
    "import_decisions",
    "index",
    "list_decisions",
    "list_models",
    "load_settings",
    "move_root",
    "pack",
    "search",
    "store_status",
    "undo_apply",
    "verify",
    "write_contact_sheets",
    "write_report",
]


def __getattr__(name: str) -> Any:
    """Imports public names when they are first used: `import facededup` itself costs next to nothing."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
