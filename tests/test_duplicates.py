"""Near-duplicates: what shares a band is compared before it is joined, one capture stays, and nothing is left behind."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config import Config, NearDuplicate
from pipeline.document import Document
from pipeline.duplicates import EDGES, components, in_common, near_duplicates
from pipeline.keys import BANDS, IMAGES, KEYED, PARAGRAPHS, SIGNATURES, make_keys, sign
from pipeline.run import Run
from pipeline.stages import Stage
from pipeline.storage import read_rows
from pipeline.work import read_receipt
from tests.documents import DATE, document, image, write_documents, write_rows

NEAR = NearDuplicate()
Place = tuple[int, int]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    settings = {"name": "t", "output": str(tmp_path / "out"), "input": {"paths": ["x"]}, "engine": {"workers": 1}}
    with Run(Config.model_validate(settings), "config.yaml") as opened:
        yield opened


def keys_of(run: Run, shards: Sequence[Sequence[Document]], near: NearDuplicate, name: str = "keys") -> Stage:
    """The keys of documents, a list a shard, as the stage would leave them."""
    prefixes = {}
    for number, documents in enumerate(shards):
        prefixes[number] = write_documents(run.folder / f"{name}-in" / f"{number:05d}", documents)
    read = Stage("documents", prefixes, {number: f"{name}{number}" for number in prefixes})
    settings = run.config.duplicates.model_copy(update={"near_duplicate": near})
    return run.each(name, make_keys, settings, documents=read)


def dropped(run: Run, keys: Stage, near: NearDuplicate) -> dict[Place, Place]:
    """For each near-duplicate the twin that stays."""
    nobody = run.sql("nobody", pages=keys.table("pages"))
    answer = near_duplicates(run, keys, nobody.table(), near)
    rows = [row for file in answer.table().files for row in read_rows(file)]
    return {(row["shard"], row["row"]): (row["twin_shard"], row["twin_row"]) for row in rows}


def edited(text: str, share: float, seed: int = 0) -> str:
    """The text with a share of its words replaced by words that stand nowhere else."""
    words, draw = text.split(), np.random.default_rng(seed)
    for place in draw.choice(len(words), round(share * len(words)), replace=False):
        words[place] = f"new{draw.integers(10**9)}"
    return " ".join(words)


def words(count: int, seed: int) -> str:
    return " ".join(f"w{number}" for number in np.random.default_rng(seed).integers(0, 10**9, count))


def test_of_alike_texts_the_latest_capture_stays_and_of_one_date_the_last_in_the_crawl(run: Run) -> None:
    text = words(300, 1)
    first = [
        document(text, row=0, date=DATE + timedelta(days=2)),
        document(edited(text, 0.01), row=1),
        document(words(300, 2), row=2),
        document(words(300, 3), row=3),
    ]
    second = [document(text, shard=1, row=0), document(edited(words(300, 3), 0.01), shard=1, row=1)]
    assert dropped(run, keys_of(run, [first, second], NEAR), NEAR) == {(0, 1): (0, 0), (1, 0): (0, 0), (0, 3): (1, 1)}


@pytest.mark.parametrize("count", [0, 1])
def test_where_there_is_nothing_to_compare_nothing_is_dropped(count: int, run: Run) -> None:
    assert dropped(run, keys_of(run, [[document("some text")][:count]], NEAR), NEAR) == {}


def test_of_documents_that_are_all_equal_one_stays(run: Run) -> None:
    shards = [[document("all the same words", shard=shard, row=row) for row in range(40)] for shard in range(2)]
    assert dropped(run, keys_of(run, shards, NEAR), NEAR) == {
        (shard, row): (1, 39) for shard in range(2) for row in range(40) if (shard, row) != (1, 39)
    }


def test_documents_without_text_are_no_duplicates_of_each_other(run: Run) -> None:
    made = [document(image(), row=0), document(image(), row=1), document(row=2), document(row=3)]
    assert dropped(run, keys_of(run, [made], NEAR), NEAR) == {}


def test_a_crowded_band_glues_no_strangers_together_and_misses_no_copy(run: Run) -> None:
    """Pages of one template share most bands of two rows; each compares itself with few of the crowd, and finds its copy."""
    near = NearDuplicate(bands=8, rows=2, window=4)
    template = words(400, 7)
    pages = [f"{template} {words(250, 100 + number)}" for number in range(300)]
    copies = [edited(page, 0.01, seed) for seed, page in enumerate(pages[:60])]
    keys = keys_of(run, [[document(text, row=row) for row, text in enumerate([*pages, *copies])]], near)
    assert dropped(run, keys, near) == {(0, row): (0, 300 + row) for row in range(60)}
    bands = [row["band_key"] for row in read_rows(keys.table("bands").files[0])]
    assert max(map(bands.count, set(bands))) > 100
    [candidates] = (run.folder / "stages" / "near_duplicate" / "candidates").rglob("*.parquet")
    # Of 64,620 pairs few are compared: in each band a document meets two windows of others on either side, and the first.
    assert sum(1 for _ in read_rows(candidates)) < 360 * 8 * (2 * 4 + 1)


def test_where_images_count_alike_texts_with_other_images_are_two_documents(run: Run) -> None:
    text = words(300, 1)
    a, b, c, d = (image(f"http://host.example/{name}.png") for name in "abcd")
    made = [
        document(text, a, b, row=0),
        document(edited(text, 0.01, 1), c, d, row=1),  # other images
        document(edited(text, 0.01, 2), a, b, c, row=2),  # all of the first's
        document(text, d, row=3),  # the very same text, but it is the second's image
        document(text, row=4),  # none
    ]
    both = NearDuplicate(images=0.6)
    assert dropped(run, keys_of(run, [made], both), both) == {(0, 0): (0, 2), (0, 1): (0, 3)}
    assert dropped(run, keys_of(run, [made], NEAR, "alone"), NEAR) == {(0, row): (0, 4) for row in range(4)}


@pytest.mark.parametrize(
    ("one", "other", "share"),
    [([], [], 1), ([], [1], 0), ([1, 2], [2, 3, 4], 0.5), ([1], [3, 2, 1], 1), ([-1], [1], 0)],
)
def test_what_two_sets_have_in_common_is_a_share_of_the_smaller(one: list[int], other: list[int], share: float) -> None:
    assert in_common(np.array(one, "<i8").tobytes(), np.array(other, "<i8").tobytes()) == share


def forged(run: Run, change: dict[str, Any]) -> Stage:
    """Three documents of different texts, with columns of their keys made equal."""
    prefix = run.folder / "forged" / "00000"
    tables: dict[str, list[dict[str, Any]]] = {"pages": [], "bands": [], "signatures": []}
    for row in range(3):
        place = {"shard": 0, "row": row}
        signed = sign(document(words(100, row)), NEAR)
        assert signed is not None
        tables["pages"].append(place | {"key": row, "crawl_date": row})
        tables["signatures"].append(place | signed[0] | {k: v for k, v in change.items() if k in signed[0]})
        tables["bands"] += [place | band | {k: v for k, v in change.items() if k in band} for band in signed[1]]
    for name, schema in {"pages": KEYED, "bands": BANDS, "signatures": SIGNATURES}.items():
        write_rows(Path(f"{prefix}.{name}.parquet"), schema, tables[name])
    write_rows(Path(f"{prefix}.images.parquet"), IMAGES, [])
    write_rows(Path(f"{prefix}.paragraphs.parquet"), PARAGRAPHS, [])
    return Stage("keys", {0: (str(prefix),)}, {0: str(change)})


def test_a_collision_of_bands_costs_nothing_and_one_of_signatures_a_document(run: Run) -> None:
    assert dropped(run, forged(run, {"band_key": 7, "order_key": 7}), NEAR) == {}
    assert dropped(run, forged(run, {"signature_key": 7}), NEAR) == {(0, 0): (0, 2), (0, 1): (0, 2)}


def test_a_shorter_loop_leaves_nothing_of_a_longer_one(run: Run) -> None:
    def join(*edges: tuple[int, int]) -> set[tuple[int, int]]:
        path = run.folder / "copies" / "00000.edges.parquet"
        write_rows(path, EDGES, [{"child": child, "parent": parent, "similarity": 1} for child, parent in edges])
        listed = Stage("e", {0: (str(path).removesuffix(".edges.parquet"),)}, {0: str(edges)}).table("edges")
        answer = components(run, "joined", run.sql("all", by=None, query="near_edges", copies=listed, verified=listed))
        return {(row["child"], row["parent"]) for file in answer.table().files for row in read_rows(file)}

    def rounds() -> int:
        return len([path for path in (run.folder / "stages" / "joined").iterdir() if path.name.isdigit()])

    assert join(*((number + 1, number) for number in range(64))) == {(number, 0) for number in range(1, 65)}
    longer = rounds()
    assert join((1, 0)) == {(1, 0)}
    assert rounds() == 1 < longer


def test_an_answer_whose_query_was_killed_is_not_taken_for_finished(run: Run) -> None:
    keys = keys_of(run, [[document("all the same words", row=row) for row in range(3)]], NEAR)
    whole = dropped(run, keys, NEAR)
    folder = run.folder / "stages" / "near_duplicate" / "verdicts"
    [partition] = (folder / "answer").rglob("*.parquet")
    folder.joinpath("query.json").unlink()  # written last: a killed query has none
    partition.write_bytes(b"half")
    assert dropped(run, keys, NEAR) == whole
    assert read_receipt(folder / "query") is not None
