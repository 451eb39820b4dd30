"""Runs a command in a terminal of its own and saves what it looks like there as SVG.

Example:
    python benchmarks/picture.py docs/find.svg facededup find --threshold 0.4 --limit 5
"""

from __future__ import annotations

import io
import os
import pty
import re
import shlex
import struct
import sys
import termios

try:
    from fcntl import ioctl
except ImportError:
    sys.exit("this script needs Linux or macOS")

from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS = 100


def output_of(command: list[str]) -> str:
    """What a command writes to a terminal of `COLUMNS` columns, progress bars already overwritten."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS=str(COLUMNS))
        os.execvp(command[0], command)
    ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 60, COLUMNS, 0, 0))
    written = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # Linux's way to say that the other side is closed
            break
        if not part:
            break
        written += part
    _, status = os.waitpid(pid, 0)
    if status:
        sys.exit(f"{shlex.join(command)} failed:\n{written.decode()}")
    return written.decode()


def settled(text: str) -> str:
    """The lines left standing when a progress bar has come and gone; colours are kept."""
    rows, row = [""], 0
    for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", text):
        if token == "\n":
            row += 1
            rows += [""] * (row + 1 - len(rows))
        elif token.endswith("A") and token.startswith("\x1b"):
            row -= int(token[2:-1] or 1)
        elif token == "\x1b[2K":
            rows[row] = ""
        elif token.endswith("m") or not token.startswith(("\x1b", "\r")):
            rows[row] += token
    return "\n".join(rows).strip("\n")


def main() -> None:
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    target, command = sys.argv[1], sys.argv[2:]
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(f"[bold green]$[/] {shlex.join(command)}", highlight=False)
    console.print(Text.from_ansi(settled(output_of(command))))
    svg = console.export_svg(title="facededup")
    svg = re.sub(r"@font-face\s*\{[^}]*\}", "", svg)
    svg = svg.replace("Fira Code", "DejaVu Sans Mono, Menlo, Consolas")
    Path(target).write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
