"""Text of unknown origin made fit for a terminal."""

from __future__ import annotations


def shown(text: str) -> str:
    r"""The text with everything that could move the cursor, colour the screen or break the line escaped.

    A byte of a file name that is not UTF-8 appears as `\xNN`, any other unprintable character as Python
    writes it.
    """
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def size(amount: int) -> str:
    """A number of bytes in the unit that suits it, e.g. `3.4 MB`."""
    value = float(amount)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} bytes" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def counted(amount: int, noun: str) -> str:
    """A number and its noun, e.g. `1 face` and `2,000 faces`."""
    return f"{amount:,} {noun}{'' if amount == 1 else 's'}"
