"""Starts a program of this folder in a process of its own."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def start(name, *args, **options):
    return subprocess.Popen(
        [sys.executable, str(HERE / name), *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=HERE.parent.parent,
        env={"PYTHONPATH": str(HERE.parent.parent), "PATH": ""},
        **options,
    )
