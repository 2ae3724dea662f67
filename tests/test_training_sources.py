"""Others' data in, documents out: each kind of source, and what of it is hostile, cut off or missing."""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UserError
from pipeline.training import sources as module
from pipeline.training.config import Data, Source
from pipeline.training.data import Raw, Said
from pipeline.training.sources import Opened, in_order, open_sources, texts
from tests.training_shards import IMAGE, picture, prose, write_corpus, write_shard

A, B, C = (picture(n) for n in range(3))
ADDRESS = "https://example.org/a.png"


def opened(kind: str, path: Path, **settings: Any) -> Opened:
    source = Source.model_validate({"name": "one", "kind": kind, "path": str(path), **settings})
    [found] = open_sources(Data(sources=(source,)))
    return found


def pieces(source: Opened) -> list[list[Any]]:
    return [raw.pieces for raw in in_order(source)]


def notes(source: Opened) -> list[str]:
    return [note for unit in range(source.units) for note in source.open(unit).notes]


def refused(kind: str, path: Path, **settings: Any) -> str:
    with pytest.raises(UserError) as caught:
        opened(kind, path, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def obelics(path: Path, images: list[str | None], rows: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    said = [None if image else f"text {n}" for n, image in enumerate(images)]
    pq.write_table(pa.table({"images": [images] * rows, "texts": [said] * rows, "metadata": ["[]"] * rows}), path)


def jsonl(path: Path, rows: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_the_public_form_of_obelics_has_its_images_left_out_and_counted(tmp_path: Path) -> None:
    obelics(tmp_path / "train-00000-of-00001.parquet", [None, ADDRESS, None])
    [raw] = in_order(opened("obelics", tmp_path))
    assert raw == Raw("one/train-00000-of-00001.parquet:0", ["text 0", "text 2"], 1)


@pytest.mark.parametrize("form", ["files", "hashed", "img2dataset", "pixels", "shards"])
@pytest.mark.parametrize("kind", ["obelics", "documents"])
def test_images_are_had_by_address(tmp_path: Path, form: str, kind: str) -> None:
    address = "folder/a.png" if form == "files" else ADDRESS
    obelics(tmp_path / "urls" / "train-00000-of-00001.parquet", [None, address, "https://example.org/none.png", None])
    folder = tmp_path / "images"
    (folder / "folder").mkdir(parents=True)
    if form == "files":
        (folder / address).write_bytes(A)
    elif form == "hashed":
        (folder / hashlib.sha256(address.encode()).hexdigest()).write_bytes(A)
    elif form == "img2dataset":
        pq.write_table(pa.table({"url": ["x", address, "y"], "jpg": [B, A, None]}), folder / "00000.parquet")
    elif form == "pixels":
        pq.write_table(
            pa.table({"shard": [0, 0], "path": ["x", address], "bytes": [B, A]}), folder / "00000.pixels.parquet"
        )
        pq.write_table(pa.table({"url": [address]}), folder / "00000.documents.parquet")
    else:
        held = [{"bytes": B, "path": "x"}, None, {"bytes": A, "path": address}]
        pq.write_table(pa.table({"images": pa.array([[None], held], pa.list_(IMAGE))}), folder / "train-0.parquet")
    [raw] = in_order(opened(kind, tmp_path / "urls", images=str(folder)))
    assert (raw.pieces, raw.missing_images) == (["text 0", A, "text 3"], 1)


@pytest.mark.parametrize("address", ["../secret", "/etc/passwd", "a/../../secret", "x" * 5000, "nul\0", "."])
def test_no_address_leads_out_of_the_folder(tmp_path: Path, address: str) -> None:
    (tmp_path / "secret").write_bytes(A)
    (tmp_path / "images").mkdir()
    obelics(tmp_path / "urls" / "train-00000-of-00001.parquet", [None, address, None])
    [raw] = in_order(opened("obelics", tmp_path / "urls", images=str(tmp_path / "images")))
    assert not any(isinstance(piece, bytes) for piece in raw.pieces)


def test_images_that_are_named_and_not_there_are_refused(tmp_path: Path) -> None:
    obelics(tmp_path / "train-00000-of-00001.parquet", [None, ADDRESS])
    assert "these shards hold addresses alone" in refused("documents", tmp_path)
    assert "names under images" in refused("obelics", tmp_path, images=str(tmp_path / "none"))
    assert "no column of addresses" in refused(
        "obelics", tmp_path, images=write_table(tmp_path / "o.parquet", {"a": [1]})
    )


def write_table(path: Path, columns: dict[str, Any]) -> str:
    pq.write_table(pa.table(columns), path)
    return str(path)


def test_shards_without_their_images_are_text(tmp_path: Path) -> None:
    write_shard(tmp_path / "train-00000-of-00001.parquet", [["before", A, "after"], ["alone"]])
    assert pieces(opened("text", tmp_path)) == [["before", "after"], ["alone"]]
    jsonl(tmp_path / "other" / "x.jsonl", [{"text": "one"}, {"text": None}, {"texts": ["two", None, "three"]}])
    assert pieces(opened("text", tmp_path / "other")) == [["one"], [], ["two", "three"]]


def test_lines_are_read_once_however_a_file_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = jsonl(tmp_path / "x.jsonl", [{"text": f"{n} " * (n % 40)} for n in range(200)])
    whole = [raw.key for raw in in_order(opened("text", path))]
    assert len(set(whole)) == 200
    for size in (1, 7, 64, 1000):
        monkeypatch.setattr(module, "PART", size)
        assert [raw.key for raw in in_order(opened("text", path))] == whole


def test_lines_that_are_no_json_are_left_out_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LINE", 100)
    path = tmp_path / "x.jsonl"
    path.write_text(
        '{"text": "a"}\nnot json\n[1]\n\n' + "[" * 5000 + '\n{"text": "' + "x" * 300 + '"}\n{"text": "b"}', "utf-8"
    )
    source = opened("text", path)
    assert pieces(source) == [["a"], ["b"]]
    assert source.open(0).lost == 4
    assert notes(source) == [f"{path}: 4 lines from byte 0 on are no JSON object, or too long, and were left out"]


@pytest.mark.parametrize("form", ["saved", "split", "parquet", "jsonl"])
def test_folders_of_datasets_are_read_by_the_names_of_their_columns(tmp_path: Path, form: str) -> None:
    import datasets

    folder = tmp_path / "data"
    columns = {"text": "caption", "image": "picture"}
    image = "a.png" if form == "jsonl" else {"bytes": A, "path": None}
    rows = [{"caption": f"text {n}", "picture": image if n else None} for n in range(3)]
    (tmp_path / "a.png").write_bytes(A)
    if form == "jsonl":
        jsonl(folder / "x.jsonl", rows)
    else:
        features = datasets.Features({"caption": datasets.Value("string"), "picture": datasets.Image()})
        made = datasets.Dataset.from_list(rows, features=features)
        if form == "saved":
            made.save_to_disk(folder)
        elif form == "split":
            datasets.DatasetDict({"train": made, "test": made.select([0])}).save_to_disk(folder)
        else:
            folder.mkdir()
            made.to_parquet(folder / "part.parquet")
    source = opened("datasets", folder, columns=columns, images=str(tmp_path) if form == "jsonl" else None)
    assert pieces(source) == [["text 0"], [A, "text 1"], [A, "text 2"]]
    assert list(texts([source], 2)) == ["text 0", "text 1"]
    if form != "jsonl":  # which has no columns
        assert "no column text or texts for the source one (columns: caption" in refused("datasets", folder)


def test_parallel_lists_of_a_dataset_keep_their_order(tmp_path: Path) -> None:
    write_corpus(tmp_path / "ours", 1, 1)
    [ours] = pieces(opened("documents", tmp_path / "ours"))
    assert pieces(opened("datasets", tmp_path / "ours")) == [ours]
    columns = {
        "texts": [["after", "the images"]],
        "images": pa.array([[{"bytes": A, "path": None}] * 3], pa.list_(IMAGE)),
    }
    path = write_table(tmp_path / "other.parquet", columns)
    assert pieces(opened("datasets", Path(path))) == [[A, A, A, "after", "the images"]]


def test_a_saved_dataset_is_opened_anew_in_each_process(tmp_path: Path) -> None:
    import pickle

    import datasets

    datasets.Dataset.from_list([{"text": str(n)} for n in range(1200)]).save_to_disk(tmp_path / "d")
    source = opened("datasets", tmp_path / "d")
    assert (source.units, source.rows) == (3, 1200)
    assert pieces(source) == [[str(n)] for n in range(1200)]
    assert pieces(pickle.loads(pickle.dumps(source))) == pieces(source)
    assert "no split 'x'" in refused_split(tmp_path)


def refused_split(folder: Path) -> str:
    import datasets

    datasets.DatasetDict({"train": datasets.Dataset.from_list([{"text": "a"}])}).save_to_disk(folder / "dict")
    return refused("datasets", folder / "dict", split="x")


USER, ANSWER = {"role": "user", "content": "what?"}, {"role": "assistant", "content": "this"}
END = Said("<end_of_utterance>", token=True)
LEARNED_END = Said("<end_of_utterance>", learned=True, token=True)
SAID = [
    Said("User:"),
    Said("what?"),
    END,
    Said("\n"),
    Said("Assistant:"),
    Said(" this", learned=True),
    LEARNED_END,
    Said("\n"),
]


def test_dialogues_are_written_as_idefics_instruct_has_them(tmp_path: Path) -> None:
    rows = [
        {"messages": [USER, ANSWER]},
        {"texts": [{"user": "what?", "assistant": "this", "source": "made"}]},
        {"messages": [{"from": "human", "value": "what?"}, {"from": "gpt", "value": "this"}, {"role": "tool"}, 3]},
    ]
    source = opened("dialogues", jsonl(tmp_path / "x.jsonl", rows))
    assert pieces(source) == [SAID] * 3
    assert list(texts([source], 9)) == ["what?", "this"] * 3


def test_images_of_a_dialogue_stand_where_a_turn_says_so_or_before_the_first(tmp_path: Path) -> None:
    for name, body in (("a.png", A), ("b.png", B)):
        (tmp_path / name).write_bytes(body)
    parts = [{"type": "text", "text": "see "}, {"type": "image"}, {"type": "text", "text": "and "}, {"type": "image"}]
    rows = [
        {"images": ["a.png", "b.png"], "messages": [{"role": "user", "content": parts}, ANSWER]},
        {"images": ["a.png"], "messages": [USER, ANSWER]},
        {"images": [], "messages": [{"role": "user", "content": [{"type": "image"}]}, ANSWER]},
    ]
    named, before, missing = in_order(opened("dialogues", jsonl(tmp_path / "x.jsonl", rows), images=str(tmp_path)))
    assert named.pieces[:5] == [Said("User:"), Said("see "), A, Said("and "), B]
    assert before.pieces == [SAID[0], A, *SAID[1:]]
    assert missing.missing_images == 1


def test_the_template_of_dialogues_is_a_setting(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "x.jsonl", [{"messages": [{"role": "system", "content": "be kind"}, USER, ANSWER]}])
    template = {"system": "[{text}] ", "user": "Q {text} ", "assistant": "A {text}<end_of_utterance>!"}
    source = {"name": "one", "kind": "dialogues", "path": str(path)}
    [found] = open_sources(Data.model_validate({"sources": [source], "template": template}))
    [[*said]] = pieces(found)
    assert said[-4:] == [Said("A"), Said(" this", learned=True), LEARNED_END, Said("!")]
    assert said[:2] == [Said("["), Said("be kind")]
    assert [piece for piece in said if piece.learned] == [Said(" this", learned=True), LEARNED_END]


def tar(path: Path, members: list[tuple[str, bytes]], extra: list[tarfile.TarInfo] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as made:
        for info in extra or []:
            made.addfile(info)
        for name, body in members:
            info = tarfile.TarInfo(name)
            info.size = len(body)
            made.addfile(info, io.BytesIO(body))
    return path


PAIRS = [
    *(("a/1.png", A), ("a/1.txt", b"one"), ("2.json", b'{"caption": "two", "width": 3}'), ("2.JPG", B)),
    *(("3.webp", C), ("3.json", b'{"text": "no"}'), ("3.txt", "drei ü".encode()), ("3.npy", b"embedding")),
]


def test_pairs_are_an_image_and_its_caption(tmp_path: Path) -> None:
    tar(tmp_path / "00000.tar", PAIRS)
    tar(tmp_path / "00001.tar", [("4.jpeg", A), ("4.txt", b"four")])
    source = opened("pairs", tmp_path)
    found = list(in_order(source))
    assert [raw.key for raw in found] == ["one/00000.tar:a/1", "one/00000.tar:2", "one/00000.tar:3", "one/00001.tar:4"]
    assert [raw.pieces for raw in found] == [[A, "one"], [B, "two"], [C, "drei ü"], [A, "four"]]
    assert list(texts([source], 2)) == ["one", "two"]
    assert notes(source) == []


def test_of_a_truncated_tar_what_is_whole_is_read_and_told_once(tmp_path: Path) -> None:
    path = tar(tmp_path / "00000.tar", PAIRS)
    whole = path.read_bytes()
    seen = set[int]()
    for end in range(0, len(whole), 512 - 3):
        path.write_bytes(whole[:end])
        source = opened("pairs", tmp_path)
        found = pieces(source)
        assert found == [[A, "one"], [B, "two"], [C, "drei ü"]][: len(found)] or found[-1] == [C, "no"]
        seen.add(len(found))
        if end < len(whole.rstrip(b"\0")):
            [note, *_] = notes(source)
            assert f"{path}: it ends early, or is damaged, at byte" in note
            assert f"its {len(found)} whole pairs are read" in note
            assert source.open(0).lost
    assert seen == {0, 1, 2, 3}


def test_hostile_members_of_a_tar_are_left_out_and_counted(tmp_path: Path) -> None:
    link, device, folder = (tarfile.TarInfo(name) for name in ("9.png", "8.png", "folder"))
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    device.type, folder.type = tarfile.CHRTYPE, tarfile.DIRTYPE
    members = [
        *(("../../7.png", A), ("../../7.txt", b"seven"), ("9.txt", b"nine"), ("8.txt", b"eight")),
        *(("5.png", A), ("5.jpg", B), ("5.txt", b"five"), ("5.txt", b"again")),
        *(("6.png", A), ("6.txt", bytes(2 << 20)), ("evil\udcff.png", C), ("evil\udcff.txt", b"name")),
    ]
    tar(tmp_path / "x.tar", members, [link, device, folder])
    source = opened("pairs", tmp_path)
    assert pieces(source) == [[A, "seven"], [A, "five"], [C, "name"]]
    assert notes(source) == [
        f"{tmp_path / 'x.tar'}: 5 members were left out (no plain files, too large, twice) and 3 half pairs"
    ]
    assert all(raw.key.encode() for raw in in_order(source))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.tar"]


def test_a_tar_of_endless_long_names_is_damage_and_no_crash(tmp_path: Path) -> None:
    name = tarfile.TarInfo("././@LongLink")
    name.type, name.size = tarfile.GNUTYPE_LONGNAME, 2
    block = name.tobuf(tarfile.GNU_FORMAT) + b"x\0" + bytes(510)
    (tmp_path / "x.tar").write_bytes(block * 5000)
    source = opened("pairs", tmp_path)
    assert pieces(source) == []
    assert "it ends early, or is damaged" in notes(source)[0]


def test_what_is_no_tar_is_refused(tmp_path: Path) -> None:
    assert "no *.tar in it" in refused("pairs", tmp_path)
    (tmp_path / "x.tar").write_bytes(b"\x1f\x8b" + bytes(2000))
    assert "no tar, or a compressed one" in refused("pairs", tmp_path)
    assert "no such folder or file" in refused("pairs", tmp_path / "none")


def test_sources_of_one_name_and_none_at_all_are_refused() -> None:
    one = {"name": "one", "path": "x"}
    for raw, said in (({"sources": [one, one]}, "two of the name one"), ({}, "one of path and sources")):
        with pytest.raises(ValueError, match=said):
            Data.model_validate(raw)
    with pytest.raises(ValueError, match="one of path and sources"):
        Data.model_validate({"path": "x", "sources": [one]})
    assert [source.name for source in Data(path="x").listed] == ["data"]


def test_what_is_nowhere_is_refused_for_each_kind(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for kind in ("documents", "obelics", "datasets", "text", "dialogues"):
        assert "no such folder" in refused(kind, tmp_path / "none")
        assert " in it" in refused(kind, tmp_path / "empty")
    (tmp_path / "e.jsonl").touch()
    assert "it holds no rows" in refused("text", tmp_path / "e.jsonl")
    assert prose(1, 2)
