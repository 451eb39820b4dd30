"""The page without its data: one HTML file put together from its parts, which alone may run in it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

SCRIPTS = (
    "columns.js",
    "text.js",
    "decisions.js",
    "grouping.js",
    "list.js",
    "compare.js",
    "clusters.js",
    "pairs.js",
    "unencoded.js",
    "charts.js",
    "summary.js",
    "saving.js",
    "app.js",
)
"""In the order they run."""


@cache
def page_parts(connects: bool) -> tuple[str, str, str]:
    """What comes before the data, between data and pictures, and after the pictures.

    The policy (Content Security Policy level 3, W3C) allows the one script and the one style by their hashes,
    and pictures that are in the page or beside it. Nothing is loaded from anywhere else.

    Args:
        connects: Whether the page may talk to the server it came from.
    """
    style, script = _read("style.css"), "".join(map(_read, SCRIPTS))
    policy = "; ".join(
        (
            "default-src 'none'",
            "img-src 'self' data:",
            f"style-src 'sha256-{_hash(style)}'",
            f"script-src 'sha256-{_hash(script)}'",
            *(["connect-src 'self'"] if connects else []),
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    filled = {"policy": policy, "style": style, "script": script}
    page = re.sub(r"\{\{(policy|style|script)\}\}", lambda found: filled[found[1]], _read("index.html"))
    before, _, rest = page.partition("{{data}}")
    between, _, after = rest.partition("{{pictures}}")
    return before, between, after


def embedded(value: Mapping[str, Any] | list[Any] | str | None) -> str:
    """JSON that may stand inside a script element: it holds no `<`, and nothing beyond ASCII."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")).replace(
        "<", "\\u003c"
    )


def _read(name: str) -> str:
    return resources.files("facededup.report").joinpath("page", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
