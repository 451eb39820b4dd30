"""What `find --confirm-model` is worth: pairs near the threshold that a second look puts right and wrong.

    python benchmarks/confirming.py LFW

The store is plain (the default model, one view of a face), and the second look is the same model over five
cuts and their mirrors: what `find --confirm-model Dlib` does, and the only second look whose weights need no
download. A model that learnt from other faces has more to add.

People are split in two halves. The second look's cut is where it takes as many strangers of the other half
for one person as the plain score does at the threshold; the pairs counted are those of this half whose
similarity is up to `--band` above the threshold. Beside it stands what a higher threshold does to the same
pairs, where it keeps as many pairs of one person.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from common import images_of, parser, report, table
from crops import CUTS, embedded_views, halves
from landmarks import labelled

from facededup.evaluation.curves import score_all
from facededup.evaluation.sample import Sample
from facededup.models.catalog import describe_model
from facededup.models.scores import cosine_cut
from facededup.progress import SilentProgress

SECOND_LOOK = "5 up and down (`--crops 5`)"


def second_cut(plain: Sample, second: Sample, cut: float) -> float:
    """The cosine of the second look that lets through as many strangers as `cut` of the plain score."""
    rate = score_all(plain.embeddings(), plain.labels(), SilentProgress())[0].fmr(cut)
    found = score_all(second.embeddings(), second.labels(), SilentProgress())[0].cosine_at_fmr(rate)
    if found is None:
        raise SystemExit("too few faces: no cut has that false match rate")
    return found


def count(plain: Sample, second: Sample, band: tuple[float, float], cut: float) -> np.ndarray:
    """Pairs of one person and of two, int64 (3, 2): those near, those confirmed, those of highest cosine."""
    a, b = np.triu_indices(len(plain.seen), 1)
    cosines = (plain.embeddings() @ plain.embeddings().T)[a, b]
    near = np.flatnonzero((cosines >= band[0]) & (cosines <= band[1]))
    cosines, a, b = cosines[near], a[near], b[near]
    vectors = second.embeddings()
    confirmed = np.einsum("ij,ij->i", vectors[a], vectors[b]) >= cut
    same = plain.labels()[a] == plain.labels()[b]
    own = -np.sort(-cosines[same])
    kept = int(confirmed[same].sum())
    above = cosines >= own[kept - 1] if kept else np.zeros(len(cosines), bool)
    return np.array(
        [
            [int((which & same).sum()), int((which & ~same).sum())]
            for which in (cosines > -1, confirmed, above)
        ]
    )


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--splits", type=int, default=2)
    arguments.add_argument("--threshold", type=float, default=0.4)
    arguments.add_argument("--band", type=float, default=0.1)
    arguments.add_argument("--keep", help="a folder for the embeddings of each view; those there are taken")
    given = arguments.parse_args()
    images = images_of(given.faces)
    with tempfile.TemporaryDirectory() as folder:
        views, rows = embedded_views(images, CUTS[SECOND_LOOK], Path(given.keep or folder))
    careful = sum(
        views[place, mirrored].astype(np.float64) for place in CUTS[SECOND_LOOK] for mirrored in (False, True)
    )
    plain, second = (
        labelled(images, rows, (mean / np.linalg.norm(mean, axis=1, keepdims=True)).astype(np.float32))
        for mean in (views[(0, 0, 0), False].astype(np.float64), careful)
    )
    operating = describe_model("Dlib").operating_cosine
    band = tuple(cosine_cut(given.threshold + width, operating) for width in (0, given.band))
    counts, cuts = np.zeros((3, 2), np.int64), []
    pairs = zip(halves(plain, given.splits), halves(second, given.splits), strict=True)
    for (chosen_plain, measured_plain), (chosen_second, measured_second) in pairs:
        cuts.append(second_cut(chosen_plain, chosen_second, band[0]))
        counts += count(measured_plain, measured_second, band, cuts[-1])
    names = ("near the threshold", "confirmed by the second look", "above a higher threshold instead")
    lines = [
        [name, own, two, round(own / counts[0, 0], 3), round(two / counts[0, 1], 3)]
        for name, (own, two) in zip(names, counts.tolist(), strict=True)
    ]
    heading = ["pairs", "of one person", "of two", "share of one person", "share of two"]
    table(heading, lines)
    report(
        {
            "images": len(images),
            "halves": 2 * given.splits,
            "threshold": given.threshold,
            "band": given.band,
            "cuts of the second look": [round(cut, 4) for cut in cuts],
            "rows": [dict(zip(heading, line, strict=True)) for line in lines],
        },
        given.json,
    )


if __name__ == "__main__":
    main()
