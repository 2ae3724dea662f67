"""What reaches a terminal: lines that fit it, and nothing of a page that it would obey."""

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
from pathlib import Path

import pytest

from pipeline import config
from pipeline.cli import main
from pipeline.documents import read_documents
from pipeline.run import Run
from pipeline.terminal import counted, json_line, printable
from tests.conftest import ROOT
from tests.crawls import crawl, page, prose, write_warc
from tests.test_run import write_configuration

RED = "\x1b[31mred \x9b0m \u202e"
URL = f"https://a.example/{RED.strip()}/路径"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of a run over pages with escape sequences wherever a page can write something."""
    folder = tmp_path_factory.mktemp("hostile")
    meta = f'<meta name="robots" content="noai, {RED}">'
    write_warc(
        folder / "crawl" / "0.warc.gz",
        [
            (URL, "text/html; charset=utf-8", page([*prose(1), f"short {RED}"], [f"/{RED}.png"], meta)),
            ("https://a.example/pdf", f"application/{RED}", b"%PDF"),
        ],
    )
    configuration = write_configuration(folder)
    assert main(["run", str(configuration), "--set", "engine.workers=1"]) == 0
    return configuration


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["explain", "CONFIG", URL], "dropped by meta_robots: meta robots: noai, \ufffd[31mred"),
        (["explain", "CONFIG", "--rule", "not_html"], "application/\ufffd[31mred"),
        (["explain", "CONFIG", "--rule", "special_characters"], "short \ufffd[31mred"),
        (["status", "CONFIG", "--slow"], "https://a.example/"),
        (["extract", "crawl/0.warc.gz"], "路径"),
        (["extract", "--html", "crawl/0.warc.gz"], "路径"),
        (["explain", "CONFIG", f"http://{RED}"], "no page of this address was read"),
    ],
)
def test_a_page_cannot_steer_the_terminal(
    arguments: list[str], said: str, hostile: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(hostile.parent)
    main([str(hostile) if argument == "CONFIG" else argument for argument in arguments])
    shown = "".join(capfd.readouterr())
    assert said in shown
    if "--html" not in arguments:  # a browser is told the direction of writing by the style sheet
        assert all(line.isprintable() for line in shown.split("\n"))
    assert not set(shown) & {"\x1b", "\x9b"}


def test_json_of_hostile_text_reads_back_the_same() -> None:
    value = {RED: ["路径 🚲 é", "\ud800 \x7f \u2028 \x00"]}
    line = json_line(value)
    assert json.loads(line) == value
    assert "路径 🚲 é" in line
    assert line.isprintable()


def test_letters_stay_and_white_space_is_a_space() -> None:
    assert printable("é 路径\u3000🚲\xa0x\ty") == "é 路径 🚲 x y"


@pytest.mark.parametrize(("count", "told"), [(0, "0 shards"), (1, "1 shard"), (1200, "1,200 shards")])
def test_one_is_one(count: int, told: str) -> None:
    assert counted(count, "shard") == told


def test_letters_that_a_locale_lacks_are_no_error(hostile: Path) -> None:
    asked = [sys.executable, "-m", "pipeline"]
    locale = os.environ | {"PYTHONIOENCODING": "ascii"}
    told = subprocess.run([*asked, "explain", str(hostile), URL], cwd=ROOT, env=locale, capture_output=True, check=True)
    assert rb"\u8def\u5f84" in told.stdout
    page = [*asked, "extract", str(hostile.parent / "crawl" / "0.warc.gz")]
    [line] = subprocess.run(page, cwd=ROOT, env=locale, capture_output=True, check=True).stdout.splitlines()
    assert json.loads(line)["url"] == URL


@pytest.mark.parametrize("arguments", [["--help"], ["explain", "CONFIG", "--rule", "not_html"]])
def test_a_reader_that_has_gone_is_no_error_message(arguments: list[str], hostile: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "pipeline", *(str(hostile) if one == "CONFIG" else one for one in arguments)]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    told = subprocess.run(command, cwd=ROOT, env=buffered, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert told.stderr == b""
    assert told.returncode == 1


def drawn(configuration: Path, columns: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the first stage of a run writes to standard error, a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    seen = bytearray()

    def read() -> None:
        try:
            while more := os.read(ours, 4096):
                seen.extend(more)
        except OSError:  # the other end is closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(theirs, "w", encoding="utf-8") as terminal, monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", terminal)
        with Run(config.load(str(configuration)), str(configuration)) as run:
            run.each("documents", read_documents, run.config.extract, warc=run.warcs())
    reader.join()
    os.close(ours)
    return seen.decode()


@pytest.mark.parametrize("columns", [40, 80])
def test_what_is_redrawn_fits_the_terminal(columns: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crawl(tmp_path / "crawl", files=2, pages=2)
    monkeypatch.setenv("TERM", "xterm")
    told = drawn(write_configuration(tmp_path), columns, monkeypatch)
    bars = [line.removeprefix("\x1b[2K") for line in told.split("\r") if "documents  " in line]
    assert bars
    assert all(len(bar) < columns for bar in bars)
    assert all(bar.endswith(" left") for bar in bars) == (columns == 80)


def test_a_terminal_that_knows_no_sequences_is_a_log(hostile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    told = drawn(hostile, 80, monkeypatch)
    assert "documents: 1 shard, nothing to do" in told
    assert "\x1b" not in told
