"""How long the HTML report takes to write, to open in a browser, to scroll and to regroup, with real faces.

The store is one of the given images, searched at a low threshold so that there are many pairs, or an existing
one with findings. The page is opened in a headless chromium, each time in a fresh process: `interactive` is
from the start of loading to the moment its lists can be used, by the browser's own clock; `frame` is the
longest of a hundred animation frames, in each of which the list of pairs is scrolled by a tenth of a screen
to two screens.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import images_of, median, parser, report, spread

import facededup

READY = """() => new Promise((resolve) => {
    const look = () => {
        if (document.documentElement.dataset.ready) resolve(performance.now());
        else setTimeout(look, 5);
    };
    look();
})"""
SCROLL = """() => new Promise((resolve) => {
    app.show("pairs");
    const times = [];
    let last = performance.now();
    const step = (now) => {
        times.push(now - last);
        last = now;
        if (times.length > 100) resolve(Math.max(...times.slice(2)));
        else {
            views.pairs.list.scroller.scrollTop += 60 + 12 * times.length;
            requestAnimationFrame(step);
        }
    };
    requestAnimationFrame(step);
})"""
REGROUP = """() => {
    app.show("clusters");
    const started = performance.now();
    app.similarity = (1 + about.threshold) / 2;
    app.refresh();
    return performance.now() - started;
}"""


def opened(page_file: Path) -> dict[str, Any]:
    """One opening of a report in a fresh browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        program = shutil.which("chromium") or sys.exit("there is no chromium")
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1366, "height": 768})
        page.goto(page_file.as_uri(), wait_until="commit")
        interactive = page.evaluate(READY) / 1000
        page.wait_for_selector("html[data-pictures]")
        scrolled, regrouped = page.evaluate(SCROLL), page.evaluate(REGROUP)
        browser.close()
    return {"interactive": interactive, "frame": scrolled / 1000, "regroup": regrouped / 1000}


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--store", help="an existing store with findings")
    arguments.add_argument("--images", type=int, default=6_398)
    arguments.add_argument("--threshold", type=float, default=0.3)
    arguments.add_argument("--limit", type=int, default=100_000)
    arguments.add_argument("--inline-limit", type=int, default=30, help="megabytes")
    arguments.add_argument("--rounds", type=int, default=3)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = options.store or os.path.join(folder, "faces.h5")
        if options.store is None:
            facededup.index(spread(images_of(options.faces), options.images), store=store)
            facededup.find(store=store, threshold=options.threshold, max_pairs=50_000_000)
        target = Path(folder, "report.html")
        started = time.perf_counter()
        inline = options.inline_limit * 1_000_000
        facededup.write_report(target, store=store, limit=options.limit, inline_limit=inline)
        seconds = time.perf_counter() - started
        rounds = [opened(target) for _ in range(options.rounds)]
        beside = sum(path.stat().st_size for path in Path(folder).glob("report_files/**/*.jpg"))
        found = facededup.store_status(store=store).findings
        assert found is not None
        report(
            {
                "pairs_stored": found["pairs"],
                "pairs_listed_at_most": options.limit,
                "clusters": found["clusters"],
                "write_seconds": seconds,
                "file_bytes": target.stat().st_size,
                "bytes_beside": beside,
                **{f"{name}_seconds": median([one[name] for one in rounds]) for name in rounds[0]},
            },
            options.json,
        )


if __name__ == "__main__":
    main()
