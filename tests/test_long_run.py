"""The short form of benchmarks/long_run.py: memory and open files of a run stay where they are."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "long_run.py"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="processes as Linux shows them")
def test_memory_and_open_files_do_not_grow(tmp_path):
    figures = tmp_path / "figures.json"
    line = ["--images", "2000", "--every", "0.2", "--json", str(figures)]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *line], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(figures.read_text())
    assert found["samples of the main process"] >= 20
    assert len(found["workers, MB early and late"]) >= 3  # two workers and what starts them
