"""Reads a written page back, as a browser would."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np


def read_page(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The data and the pictures of a report."""
    return read_text(path.read_text(encoding="utf-8"))


def read_text(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    blocks = re.findall(r'<script type="application/json" id="(\w+)">(.*?)</script>', text, flags=re.DOTALL)
    assert [name for name, _ in blocks] == ["data", "pictures"]
    data, pictures = (json.loads(block) for _, block in blocks)
    return data, pictures


def column(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind)


def paths_of(data: dict[str, Any], images: np.ndarray) -> list[str]:
    table = data["images"]
    folder = column(table["folder"], "<u4")
    return [table["folders"][folder[image]] + table["name"][image] for image in images]
