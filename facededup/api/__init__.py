"""The public functions: each builds its settings, runs one pipeline and gives back plain data.

A pipeline is imported when it is first run: each needs other packages, and start-up is what users wait for.
"""

from __future__ import annotations

from facededup.api.actions import apply_findings, undo_apply
from facededup.api.decisions import add_decision, export_decisions, import_decisions, list_decisions
from facededup.api.evaluation import evaluate
from facededup.api.jobs import find, index
from facededup.api.lookups import compare, search
from facededup.api.machine import diagnose, list_models
from facededup.api.reports import write_contact_sheets, write_report
from facededup.api.stores import copy_store, forget, move_root, pack, store_status, verify

__all__ = [
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
]
