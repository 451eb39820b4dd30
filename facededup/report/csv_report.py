"""The pairs of a `find` as CSV, one line a pair, for spreadsheets and databases."""

from __future__ import annotations

from facededup.csv_rows import csv_writer
from facededup.manifest import tag_heading
from facededup.report.files import writing
from facededup.results import FindResult

COLUMNS = (
    *("a_path", "a_face", "b_path", "b_face", "similarity", "cosine", "new", "cluster"),
    *("decision", "same_photo", "normalized", "second_similarity"),
)


def write_pairs(result: FindResult, path: str) -> None:
    """Writes the listed pairs, in their order.

    The columns are `COLUMNS`: path and face number of both faces, the two scores with all their digits,
    `new` as true or false, the id of the listed cluster that holds both faces, empty where none does, the
    decision, empty where there is none, whether both images are one photo, the normalised score and the
    second model's similarity where they were asked for; then what manifests say of either image, `a_id`,
    `a_group` and so on before `b_id`, `b_group`.
    File names go out byte for byte; a line break in one is quoted.

    Args:
        result: What was found.
        path: A file, replaced in one step, or `-` for standard output.

    Raises:
        JobError: The file cannot be written.
    """
    cluster_of = {
        (member.path, member.face): cluster.id for cluster in result.clusters for member in cluster.faces
    }
    with writing(path) as file:
        table = csv_writer(file)
        headings = [tag_heading(side, name) for side in "ab" for name in result.tag_columns]
        table.writerow((*COLUMNS, *headings))
        for pair in result.pairs:
            cluster = cluster_of.get((pair.a.path, pair.a.face))
            other = cluster_of.get((pair.b.path, pair.b.face))
            table.writerow(
                (
                    pair.a.path,
                    pair.a.face,
                    pair.b.path,
                    pair.b.face,
                    pair.similarity,
                    pair.cosine,
                    "true" if pair.new else "false",
                    cluster if cluster == other else None,
                    pair.decision,
                    "true" if pair.same_photo else "false",
                    pair.normalized,
                    pair.second_similarity,
                    *(face.tags.get(name) for face in (pair.a, pair.b) for name in result.tag_columns),
                )
            )
