"""`facededup --help` against `python -c "import typer, rich"`, whole processes in turn."""

from __future__ import annotations

import subprocess
import sys
import time

from common import median, parser, report


def seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=11)
    arguments.add_argument("--at-most", type=float, help="fail when the median ratio is higher")
    given = arguments.parse_args()
    plain = [sys.executable, "-c", "import typer, rich"]
    ours = [sys.executable, "-m", "facededup", "--help"]
    for command in (plain, ours):
        seconds(command)
    rounds = [(seconds(plain), seconds(ours)) for _ in range(given.rounds)]
    ratios = [mine / theirs for theirs, mine in rounds]
    report(
        {
            "import typer, rich, seconds": median([theirs for theirs, _ in rounds]),
            "facededup --help, seconds": median([mine for _, mine in rounds]),
            "ratio, median": median(ratios),
        },
        given.json,
    )
    if given.at_most and median(ratios) > given.at_most:
        sys.exit(f"the ratio rose above {given.at_most}")


if __name__ == "__main__":
    main()
