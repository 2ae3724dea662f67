"""What makes the table of figures: the shape of a figure, the rows, and the command that writes them."""

from pathlib import Path

import pytest

from tests.benchmarks import table
from tests.benchmarks.__main__ import NAMES, main
from tests.benchmarks.figure import Figure, cells

MACHINE = "a machine, 2 cores"


@pytest.fixture
def readme(tmp_path: Path) -> Path:
    """A README whose table holds one benchmark."""
    path = tmp_path / "README.md"
    path.write_text(f"# Figures\n\nsaid by hand\n\n{table.MARK}\n", "utf-8")
    figure = Figure("share | kept", 90.5, "%", least=80)
    table.write(path, NAMES, {"perplexity": table.Measured(MACHINE, "0.3", [table.row(figure, "perplexity")])})
    return path


@pytest.mark.parametrize(
    ("figure", "held"),
    [
        (Figure("", 2.0), None),
        (Figure("", 2.0, least=2), True),
        (Figure("", 2.0, least=2.1), False),
        (Figure("", 2.0, most=1), False),
        (Figure("", 2.0, most=3, peer="warcio", theirs=4.0, beside=0.6), False),
        (Figure("", 2.0, most=3, peer="warcio", theirs=4.0, beside=0.5), True),
        (Figure("", 2.0, peer="warcio", theirs=None, beside=0.5), None),
        (Figure("", None, least=2), None),
    ],
)
def test_a_limit_is_held_by_the_value_or_by_its_ratio_to_the_peers(figure: Figure, held: bool | None) -> None:
    assert figure.held is held


@pytest.mark.parametrize(
    ("value", "told"),
    [(68822.8, "68,823"), (57.14, "57.1"), (3.6, "3.60"), (0.88, "0.880"), (0.00571, "0.00571"), (0.0, "0"), (22, "22")],
)  # fmt: skip
def test_three_digits_are_told_or_all_of_a_whole_number(value: float, told: str) -> None:
    assert cells(Figure("", value))[1] == told


def test_a_peer_that_is_not_installed_is_a_row() -> None:
    assert cells(Figure("reading", 2.0, "MB/s", peer="no-such-reader", beside=0.5)) == [
        "reading", "2.00 MB/s", "≥ 0.5 × the peer's", "", "no-such-reader", "not installed",
    ]  # fmt: skip


def test_rows_of_benchmarks_that_are_not_run_stay_with_their_machine(readme: Path) -> None:
    before = table.read(readme)
    known = before | {"filters": table.Measured("another, 64 cores", "1.0", [table.row(Figure("speed", 1), "filters")])}
    table.write(readme, NAMES, known)
    assert table.read(readme) == known
    text = readme.read_text("utf-8")
    assert text.startswith("# Figures\n\nsaid by hand\n\n")
    assert "1. another, 64 cores\n2. a machine, 2 cores\n" in text  # in the order of the benchmarks
    table.write(readme, NAMES, table.read(readme))
    assert readme.read_text("utf-8") == text


def test_all_benchmarks_are_run_by_the_command_and_say_what_they_measure() -> None:
    modules = {
        path.stem for path in table.HERE.glob("*.py") if "\ndef figures(given: Given)" in path.read_text("utf-8")
    }
    assert modules == set(NAMES)
    assert all(table.about(name).endswith(".") for name in NAMES)
    assert set(table.read(table.README)) <= modules


def test_what_cannot_be_measured_here_says_so_or_keeps_its_row(
    readme: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CARNAC_MATERIAL", str(tmp_path / "none"))
    before = table.read(readme)["perplexity"]
    assert main(["perplexity", "decontamination"], readme) == 0
    known = table.read(readme)
    assert known["perplexity"] == before
    assert "not measured" in known["decontamination"].rows[0]
    assert "CARNAC_MATERIAL" in capfd.readouterr().out


def test_a_benchmark_that_fails_leaves_its_rows_and_is_named(
    readme: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CARNAC_MATERIAL", str(tmp_path))
    before = readme.read_text("utf-8")
    assert main(["perplexity"], readme) == 1
    assert readme.read_text("utf-8") == before
    assert "failed, their rows left as they were: perplexity" in capfd.readouterr().err


def test_an_unknown_name_is_refused_with_the_names_there_are(readme: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["crawl"], readme)
    assert refused.value.code == 2
    assert "no benchmark is called crawl; there are crawls, road" in capsys.readouterr().err
