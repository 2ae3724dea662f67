"""What a user can get wrong: one clear line, exit status 2 (1 once work was under way), and nothing finished is lost."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli import main
from tests.conftest import ROOT
from tests.crawls import crawl, write_warc
from tests.test_run import corpus_of, write_configuration


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    crawl(tmp_path / "crawl", files=2, pages=3)
    return write_configuration(tmp_path)


def refused(capfd: pytest.CaptureFixture[str], *arguments: str, status: int = 2) -> str:
    """Runs a command that must be refused; the one line that it says."""
    assert main(list(arguments)) == status
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("carnac: ")]
    assert len(lines) == 1
    return lines[0].removeprefix("carnac: ")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("input.paths=[nowhere.warc.gz]", "input.paths: nowhere.warc.gz: no such file or folder"),
        ("input.paths=[nowhere/*.warc.gz]", "input.paths: nowhere/*.warc.gz: holds no file"),
        ("input.paths=[]", "input.paths: "),
        ("input.path=x", "input.path: unknown key, did you mean paths? (known: paths, crawl, pointers, index, base"),
        ("txet.document.language.min=0.1", "txet: unknown key, did you mean text?"),
        ("score_rules.document.langauge={labels: [en], min: 0.8}", "rule langauge, did you mean language?"),
        ("score_rules.document.language.mni=0.1", "language: unknown threshold mni (known: labels, min)"),
        ("text.document.language={labels: [en], min: 0.8}", "language is a rule for: scored document"),
        ("text.document.blocked_hosts={files: [nowhere.txt]}", "blocked_hosts.files: nowhere.txt: no such file"),
        ("text.paragraph.stop_words={}", "stop_words: missing a required argument: 'min'"),
        ("text.paragraph.stop_words.min=many", "stop_words.min: "),
        ("text.paragraph.stop_words=0.3", "stop_words: "),
        ("engine.workers=two", "engine.workers: "),
        ("engine.memory=4 apples", "engine.memory: '4 apples' is no size; write 500 MB or 4 GB"),
        ("extract.method=magic", "extract.method: "),
        ("images.sources=[moon]", "images.sources.0: "),
        ("images.sources=[mirror]", "images: the source mirror needs its address: set images.mirror.address"),
        (
            "images.mirror={address: 'http://mirror.example/'}",
            "images.mirror.address: http://mirror.example/: holds neither",
        ),
        ("images.mirror={address: 'mirror/{url}'}", "images.mirror.address: mirror/{url}: begins with neither"),
        (
            "images={sources: [mirror], mirror: {address: 'http://m/{url}'}, downloader: img2dataset}",
            "images: img2dataset asks the web alone",
        ),
        ("images.downloader=wget", "images.downloader: "),
        ("images.download.contact='a b'", "images.download.contact: "),
        ("images.download.allowed_networks=[home]", "images.download.allowed_networks.0: "),
        ("consent.lists=[nowhere.txt]", "consent.lists.0: nowhere.txt: No such file or directory"),
        ("text", "--set text: expected section.key=value"),
        ("name.x=1", "--set name.x=1: name is no section"),
    ],
)
def test_a_wrong_setting_is_one_line_before_any_work(
    change: str, said: str, configuration: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    line = refused(capfd, "run", str(configuration), "--set", change)
    assert said in line
    assert not list(tmp_path.glob("out/stages/*/*"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: [", "no valid YAML"),
        ("- a\n- b", "expected a mapping of sections, found list"),
        ("name: x\nname: y", "'name' stands twice"),
        ("name: x\noutput: y", "input: is missing"),
        ("\x00", "no valid YAML"),
    ],
)
def test_a_configuration_that_is_none(text: str, said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    line = refused(capfd, "run", str(path))
    assert line.startswith(f"{path}: ")
    assert said in line


def test_a_configuration_that_is_not_there(capfd: pytest.CaptureFixture[str]) -> None:
    assert refused(capfd, "run", "nowhere.yaml") == "nowhere.yaml: No such file or directory"


def test_an_empty_folder_of_input(configuration: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    line = refused(capfd, "run", str(configuration), "--set", f"input.paths=[{tmp_path / 'empty'}]")
    assert "holds no file named *.warc, *.warc.gz," in line
    assert line.endswith("*.wacz")


@pytest.mark.parametrize("content", [b"", b"plain text, nothing else\n" * 100, b"PK\x03\x04 a zip"])
def test_a_file_that_is_no_warc_stops_the_run_before_it_begins(
    content: bytes, configuration: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "crawl" / "z.warc.gz").write_bytes(content)
    line = refused(capfd, "run", str(configuration))
    assert line.startswith(str(tmp_path / "crawl" / "z.warc.gz"))
    assert not list(tmp_path.glob("out/stages/*/*"))


def test_an_output_that_cannot_be_written(
    configuration: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    line = refused(capfd, "run", str(configuration), "--set", f"output={tmp_path / 'file' / 'out'}")
    assert "cannot be written: Not a directory" in line


def test_an_output_with_other_files_in_it(
    configuration: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("precious")
    assert "holds other files and no run" in refused(capfd, "run", str(configuration))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]


def test_an_output_in_which_a_run_was_killed_at_its_very_beginning(configuration: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".lock").write_text("")
    (tmp_path / "out" / ".run.json.1.tmp").write_text("{")
    assert main(["run", str(configuration)]) == 0
    assert not (tmp_path / "out" / ".run.json.1.tmp").exists()


def test_an_output_of_another_configuration(
    configuration: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(configuration)]) == 0
    before = corpus_of(tmp_path / "out")
    line = refused(capfd, "run", str(configuration), "--set", "name=another")
    assert 'is the output of another configuration: name was "test", is "another"' in line
    assert corpus_of(tmp_path / "out") == before


def test_a_second_run_on_the_same_output_at_once_is_refused(
    configuration: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from pipeline import config
    from pipeline.run import Run

    with Run(config.load(str(configuration)), str(configuration)):
        assert "is in use by another run" in refused(capfd, "run", str(configuration))


def test_a_disk_that_is_full_keeps_what_was_finished(configuration: Path, tmp_path: Path) -> None:
    """A limit on file sizes stands in for the disk: the images, at 100 kB each, are what does not fit."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))

    command = [sys.executable, "-m", "pipeline", "run", str(configuration)]
    ended = subprocess.run(command, preexec_fn=limit, capture_output=True, text=True, cwd=ROOT, check=False)
    assert ended.returncode == 1
    [line] = [line for line in ended.stderr.splitlines() if line.startswith("carnac: ")]
    assert "File too large; what was finished is kept: make room, run again" in line
    assert "Traceback" not in ended.stderr
    assert not list((tmp_path / "out").rglob(".*.tmp"))
    assert len(list((tmp_path / "out" / "stages" / "consent").glob("*.json"))) == 2
    assert not list((tmp_path / "out" / "stages" / "images").glob("*.json"))

    assert main(["run", str(configuration)]) == 0
    assert main(["run", str(configuration), "--set", f"output={tmp_path / 'undisturbed'}"]) == 0
    assert corpus_of(tmp_path / "out") == corpus_of(tmp_path / "undisturbed")


def test_a_page_that_is_damaged_costs_itself(configuration: Path, tmp_path: Path) -> None:
    pages = [
        (f"http://odd{i}.example/", "text/html", body) for i, body in enumerate([b"", b"\xff\xfe\x00", b"<" * 10_000])
    ]
    write_warc(tmp_path / "crawl" / "odd.warc.gz", pages)
    assert main(["run", str(configuration)]) == 0


def test_status_and_explain_without_a_run(configuration: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert "no run here yet" in refused(capfd, "status", str(configuration))
    assert "no run here yet" in refused(capfd, "explain", str(configuration), "http://host0.example/page")


def test_explain_of_an_address_that_was_not_read(configuration: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(configuration)]) == 0
    line = refused(capfd, "explain", str(configuration), "http://nowhere.example/")
    assert line.startswith("http://nowhere.example/: no page of this address was read")
