"""Ctrl-C that falls where Python swallows exceptions."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
CODE = """
import signal, time
from facededup.interrupt import repeat_swallowed_interrupts
repeat_swallowed_interrupts()

class Finalised:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

class Broken:
    def __del__(self):
        raise ValueError("other faults are still told")

Broken()
Finalised()
try:
    time.sleep(60)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_an_interrupt_in_a_finaliser_comes_again():
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, env=env, timeout=50, check=True
    )
    assert done.stdout == "interrupted\n"
    assert "other faults are still told" in done.stderr
    assert "KeyboardInterrupt" not in done.stderr
