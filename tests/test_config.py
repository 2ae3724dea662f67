"""A configuration is read whole or refused in one line that names the file, the key and what is possible."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Config, load, read_yaml
from pipeline.errors import UserError
from tests.conftest import ROOT

LEAST = "name: a\noutput: out\ninput: {paths: [crawl]}\n"


def written(folder: Path, text: str) -> str:
    path = folder / "c.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def refusal(folder: Path, text: str, *overrides: str) -> str:
    """The one line with which the configuration is refused, without the file's name."""
    path = written(folder, text)
    with pytest.raises(UserError) as caught:
        load(path, overrides)
    message = str(caught.value)
    assert caught.value.status == 2
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_three_keys_are_enough_and_every_decision_is_off(tmp_path: Path) -> None:
    config = load(written(tmp_path, LEAST))
    assert (config.name, config.output, config.input.paths) == ("a", "out", ["crawl"])
    assert config.text.document == {}
    assert config.duplicates.near_duplicate is None
    assert config.consent.signals == []


@pytest.mark.parametrize("name", ["commoncrawl", "obelics", "quickstart"])
def test_the_configurations_that_are_shipped_are_valid(name: str) -> None:
    # The quickstart's list of refusals is written with the sample crawl.
    assert load(str(ROOT / "configs" / f"{name}.yaml"), ["consent.lists=[]"]).name == name


def test_a_configuration_cannot_be_changed_once_read(tmp_path: Path) -> None:
    config = load(written(tmp_path, LEAST))
    with pytest.raises(ValueError, match="frozen"):
        config.name = "b"


@pytest.mark.parametrize(
    ("added", "expected"),
    [
        ("exprot: {}", ("exprot: unknown key, did you mean export?", "(known: name, output, input, engine,")),
        ("export: {forms: [images], title: t, size: 1}", ("export.size: unknown key (known: forms, shard_size,",)),
        ("images: {download: {retry: 3}}", ("images.download.retry: unknown key, did you mean retries?",)),
        (
            "duplicates: {near_duplicate: {band: 3}}",
            (
                "duplicates.near_duplicate.band: unknown key, did you mean bands?",
                "(known: permutations, bands, rows, shingle, similarity, images, window, seed)",
            ),
        ),
        ("engine: {workers: two}", ("engine.workers: input should be a valid integer", "found 'two'")),
        ("engine: {workers: -1}", ("engine.workers: input should be greater than or equal to 0, found -1",)),
        ("export: {validation: 1}", ("export.validation: input should be less than 1, found 1",)),
        ("export: {forms: [pictures]}", ("export.forms.0: input should be 'images' or 'urls', found 'pictures'",)),
        ("export: {forms: []}", ("export.forms: list should have at least 1 item",)),
        ("consent: {signals: [noia]}", ("consent.signals.0: input should be 'x_robots_tag'", "'noia'")),
        ("consent: {signals: [robots_txt]}", ("consent: the signal robots_txt needs a source", "consent.robots.live")),
        ("consent: {signals: [content_signal]}", ("consent: the signal content_signal needs a source",)),
        ("consent: {signals: [ai_txt]}", ("consent: the signal ai_txt is asked of hosts: set consent.ai_txt.live",)),
        ("consent: {robots: {life: true}}", ("consent.robots.life: unknown key, did you mean live?",)),
        ("consent: {spawning: {batch: 1}}", ("consent.spawning.batch: input should be greater than or equal to 2",)),
        ("consent: {spawning: {url: 'file:///x'}}", ("consent.spawning.url: ",)),
        ("consent: {lists: [nowhere.txt]}", ("consent.lists.0: nowhere.txt: No such file or directory",)),
        ("images: {sources: web}", ("images.sources: input should be a valid list, found 'web'",)),
        ("extract: {method: best}", ("extract.method: input should be ", "'obelics'", "found 'best'")),
        ("export: 5", ("export: input should be a valid dictionary or instance of export, found 5",)),
        (
            "images: {download: {allowed_networks: [10.1.0.0/33]}}",
            ("images.download.allowed_networks.0: '10.1.0.0/33' does not appear to be an IPv4 or IPv6 network",),
        ),
        ('images: {download: {user_agent: "a\\nb"}}', ("images.download.user_agent: ", "found 'a\\nb'")),
        ("name: b", ("no valid YAML: 'name' stands twice", "line 4")),
        ("export: {title: a, title: b}", ("no valid YAML: 'title' stands twice", "line 4")),
        ("export: {title: [}", ("no valid YAML: ", "line 4")),
        ("? [a, b]\n: 1", ("no valid YAML: the key ['a', 'b'] is no name",)),
        ("export: {title: 2026-02-31}", ("no valid YAML: day is out of range for month",)),
        ("5: 3", ("5: keys should be strings",)),
        ("exprot: {}\nimagse: {}", ("exprot: unknown key", "(and 1 more)")),
        (
            "text: {document: {number_of_wrods: {min: 1, max: 2}}}",
            ("text.document: unknown document rule number_of_wrods, did you mean number_of_words?", "(known: "),
        ),
        ("text: {paragraph: {number_of_images: {min: 1, max: 2}}}", ("text.paragraph: unknown paragraph rule number_of_images",)),
        ("image_rules: {image: {aspect_ratio: {min: 1}}}", ("image_rules.image: aspect_ratio: missing a required argument",)),
        (
            "final: {paragraph: {web_chrome_words: {maximum: 1}}}",
            ("final.paragraph: web_chrome_words: unknown threshold maximum (known: max)",),
        ),
        (
            "text: {document: {number_of_words: {min: ten, max: 20}}}",
            ("text.document: number_of_words.min: input should be a valid integer", "found 'ten'"),
        ),
        (
            "text: {document: {number_of_words: 5}}",
            ("text.document.number_of_words: input should be a valid dictionary, found 5",),
        ),
        (
            "duplicates: {near_duplicate: {bands: 40, rows: 4}}",
            ("duplicates.near_duplicate: 40 bands of 4 rows need 160 permutations, found 128",),
        ),
        (
            "duplicates: {near_duplicate: {shingle: {words: 5, characters: 9}}}",
            ("duplicates.near_duplicate.shingle: write words: N or characters: N",),
        ),
        ("duplicates: {canonical: {utm: true}}", ("duplicates.canonical", "unknown key", "host_case")),
        ("duplicates: {canonical: written}", ("duplicates.canonical", "as_written", "found 'written'")),
        ("duplicates: {paragraph_repeated: {max: 1, by: page}}", ("duplicates.paragraph_repeated.by", "host")),
        ("consent: {lists: [nowhere/list.txt]}", ("consent.lists.0: nowhere/list.txt: No such file or directory",)),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_with_the_key_what_was_found_and_the_choices(
    added: str, expected: tuple[str, ...], tmp_path: Path
) -> None:
    message = refusal(tmp_path, f"{LEAST}{added}\n")
    assert message.startswith(expected[0])
    for fragment in expected:
        assert fragment in message


@pytest.mark.parametrize("key", ["name", "output", "input"])
def test_a_missing_key_is_named(key: str, tmp_path: Path) -> None:
    kept = [line for line in LEAST.splitlines() if not line.startswith(key)]
    assert refusal(tmp_path, "\n".join(kept)) == f"{key}: is missing"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "expected a mapping of sections, found NoneType"),
        ("- a\n- b\n", "expected a mapping of sections, found list"),
        ("words", "expected a mapping of sections, found str"),
        ("\t- a: b: c", "no valid YAML: "),
        ("a: !!python/object:os.system {}", "no valid YAML: could not determine a constructor"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(text: str, expected: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, text).startswith(expected)


def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.yaml: No such file or directory$"):
        load(str(tmp_path / "nowhere.yaml"))
    with pytest.raises(UserError, match=r": Is a directory$"):
        load(str(tmp_path))
    (tmp_path / "latin.yaml").write_bytes("name: Café".encode("latin-1"))
    with pytest.raises(UserError, match=r"latin\.yaml: not UTF-8 text$"):
        load(str(tmp_path / "latin.yaml"))


def test_an_anchor_may_be_merged_into_a_mapping(tmp_path: Path) -> None:
    text = (
        LEAST
        + "text:\n  document: {number_of_words: &range {min: 1, max: 9}, number_of_images: {<<: *range, max: 3}}\n"
    )
    assert load(written(tmp_path, text)).text.document["number_of_images"] == {"min": 1, "max": 3}


@pytest.mark.parametrize(
    ("override", "place", "expected"),
    [
        ("name=b", "name", "b"),
        ("engine.workers=3", "engine.workers", 3),
        ("text.document.number_of_words.max=5", "text.document.number_of_words.max", 5),
        ("text.document.number_of_images={min: 1, max: 2}", "text.document.number_of_images.max", 2),
        ("input.paths=[a/*.warc.gz, b]", "input.paths", ["a/*.warc.gz", "b"]),
        ("duplicates.near_duplicate.bands=4", "duplicates.near_duplicate.bands", 4),
        ("export.title=a=b", "export.title", "a=b"),
        ("export.title='1'", "export.title", "1"),
    ],
)
def test_an_override_reaches_any_depth_and_its_value_is_yaml(
    override: str, place: str, expected: Any, tmp_path: Path
) -> None:
    path = written(tmp_path, LEAST + "text: {document: {number_of_words: {min: 1, max: 9}}}\n")
    found: Any = load(path, [override]).model_dump()
    for part in place.split("."):
        found = found[part]
    assert found == expected


def test_an_override_fills_a_section_that_was_left_empty(tmp_path: Path) -> None:
    assert load(written(tmp_path, LEAST + "export:\n"), ["export.title=b"]).export.title == "b"


def test_of_two_overrides_of_a_key_the_later_holds(tmp_path: Path) -> None:
    assert load(written(tmp_path, LEAST), ["name=b", "name=c"]).name == "c"


def test_an_override_leaves_its_neighbours(tmp_path: Path) -> None:
    path = written(tmp_path, LEAST + "text: {document: {number_of_words: {min: 1, max: 9}}}\n")
    assert load(path, ["text.document.number_of_words.max=5"]).text.document == {
        "number_of_words": {"min": 1, "max": 5}
    }


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("name", "--set name: expected section.key=value"),
        ("=b", "--set =b: expected section.key=value"),
        ("name=[", "--set name=[: '[' is no YAML value"),
        ("name=2026-02-31", "--set name=2026-02-31: '2026-02-31' is no YAML value"),
        ("name.first=b", "--set name.first=b: name is no section"),
        ("input.paths.0=b", "--set input.paths.0=b: paths is no section"),
        ("export.titel=b", "export.titel: unknown key, did you mean title?"),
        ("engine..workers=3", "engine.: unknown key"),
        ("text.document.number_of_words.max=5", "text.document: number_of_words: missing a required argument: 'min'"),
        ("text.document.number_of_wrods.max=5", "text.document: unknown document rule number_of_wrods, did you mean"),
        (
            "text.document.stop_words.min=much",
            "text.document: stop_words.min: input should be a valid number, found 'much'",
        ),
        (
            "text.document.stop_words.min=true",
            "text.document: stop_words.min: input should be a valid number, found True",
        ),
    ],
)
def test_a_wrong_override_is_one_line(override: str, expected: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, LEAST, override).startswith(expected)


@pytest.mark.parametrize(
    ("size", "expected"),
    [("500 MB", 500 * 10**6), ("4GB", 4 * 10**9), ("1.5 kB", 1500), ("20 B", 20), ("7", 7), (7, 7), ("1 TB", 10**12)],
)
def test_sizes_are_bytes_or_carry_a_unit(size: object, expected: int, tmp_path: Path) -> None:
    assert load(written(tmp_path, LEAST), [f"export.shard_size={size}"]).export.shard_size == expected


@pytest.mark.parametrize("size", ["500 Mb", "MB", "4 G", "1e999 GB", "nan MB", "GB 4"])
def test_what_is_no_size_is_refused_with_an_example(size: str, tmp_path: Path) -> None:
    expected = f"export.shard_size: {size!r} is no size; write 500 MB or 4 GB"
    assert refusal(tmp_path, f"{LEAST}export: {{shard_size: {size}}}\n") == expected


@pytest.mark.parametrize("size", ["0", "-3 MB", "0.2 B"])
def test_a_size_is_more_than_nothing(size: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, f"{LEAST}export: {{shard_size: {size}}}\n").startswith(
        "export.shard_size: input should be greater than 0"
    )


def test_reading_does_not_check_so_that_other_configurations_can_be_read_too(tmp_path: Path) -> None:
    assert read_yaml(written(tmp_path, "steps: 20\n"), ["data.path=x"]) == {"steps": 20, "data": {"path": "x"}}


def test_every_section_has_a_default_but_the_three_that_only_a_user_knows() -> None:
    assert [name for name, field in Config.model_fields.items() if field.is_required()] == ["name", "output", "input"]
