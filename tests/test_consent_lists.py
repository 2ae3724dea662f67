"""Lists of those who said no: text, CSV and Parquet, what a line names, and ten million lines in little memory."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.consent.addresses import names_of
from pipeline.consent.lists import lines_of, names_on
from pipeline.errors import UserError
from pipeline.storage import read_rows


def found(lines: list[str], url: str) -> str | None:
    """The name under which a list of these lines holds the address."""
    listed = {name for line in lines for name in names_on(line)}
    return next((name for name in names_of(url) if name in listed), None)


@pytest.mark.parametrize(
    ("line", "url", "name"),
    [
        ("example.com", "http://example.com/a", "example.com"),
        ("example.com", "https://www.example.com:8080/a", "example.com"),
        ("Example.COM", "http://EXAMPLE.com/", "example.com"),
        (".example.com.", "http://a.example.com./", "example.com"),
        ("www.example.com", "http://example.com/", None),
        ("bücher.example", "http://www.xn--bcher-kva.example/", "xn--bcher-kva.example"),
        ("example.com/a.png", "https://example.com/a.png", "https://example.com/a.png"),
        ("example.com", "http://badexample.com/", None),
        ("example.com", "http://example.com.evil.org/", None),
        ("example.com", "http://other.org/?u=example.com", None),
        ("http://example.com/a.png", "http://example.com/a.png", "http://example.com/a.png"),
        ("HTTP://EXAMPLE.com:80/a.png#x", "http://example.com/a.png", "http://example.com/a.png"),
        ("http://example.com/a.png", "http://example.com/A.png", None),
        ("http://example.com/a.png", "http://example.com/b.png", None),
        ("http://example.com/", "http://example.com/a.png", None),
        ("192.0.2.7", "http://192.0.2.7/a.png", "192.0.2.7"),
        ("# example.com", "http://example.com/", None),
        ("", "http://example.com/", None),
        ("example.com", "http://[half/", None),
        ("http://[half/", "http://[half/", "http://[half/"),
        ("[half", "http://half/", None),
        ("example.com", "", None),
        ("example.com", "data:image/png;base64,AAAA", None),
    ],
)
def test_a_line_of_a_list_names_an_address_or_a_host_and_all_below_it(line: str, url: str, name: str | None) -> None:
    assert found(["first.example", "", f"{line}\r\n"], url) == name


def test_of_several_names_the_address_itself_is_told_then_the_longest_host() -> None:
    lines = ["example.com", "www.example.com", "http://www.example.com/a"]
    assert found(lines, "http://www.example.com/a") == "http://www.example.com/a"
    assert found(lines, "http://www.example.com/b") == "www.example.com"


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("name", "text", "lines"),
    [
        ("a.txt", "a.example\nb.example", ["a.example\n", "b.example"]),
        ("a", "\ufeffa.example\n", ["a.example\n"]),
        ("a.csv", "id,URL,date\n1,http://a.example/x,2026\n2,b.example,2026\n", ["http://a.example/x", "b.example"]),
        ("a.csv", 'domain\n"a.example"\n', ["a.example"]),
        ("a.csv", "a.example,1\nb.example,2\n", ["a.example", "b.example"]),  # no head
        ("a.tsv", "n\thost\n1\ta.example\n", ["a.example"]),
        ("a.csv", "n,host\n1\n2,b.example\n", ["b.example"]),
        ("a.csv", "", []),
    ],
)
def test_text_and_csv_files_are_read_by_line_or_by_column(
    name: str, text: str, lines: list[str], tmp_path: Path
) -> None:
    assert list(lines_of(write(tmp_path / name, text))) == lines


def test_a_parquet_file_is_read_by_the_name_of_its_column(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [1, 2], "Host": ["a.example", None]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"whatever": ["b.example"]}), tmp_path / "b.parquet")
    assert list(lines_of(str(tmp_path / "a.parquet"))) == ["a.example", ""]
    assert list(lines_of(str(tmp_path / "b.parquet"))) == ["b.example"]


def test_a_list_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [1], "name": ["a"]}), tmp_path / "c.parquet")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x80")
    (tmp_path / "d.parquet").write_bytes(b"no Parquet")
    for name, message in {
        "nowhere": "No such file or directory$",
        "binary": "not UTF-8 text$",
        "c.parquet": r"no column is named url, .*\(columns: id, name\)$",
        "d.parquet": "Parquet",
    }.items():
        with pytest.raises(UserError, match=rf"^consent\.lists: .*{name}: .*{message}"):
            list(lines_of(str(tmp_path / name)))


# In a process of its own, whose peak is that of the stage: a list of so many hosts, then the join with the addresses.
PROGRAM = """
import sys
from pathlib import Path
from pipeline.config import EngineSettings
from pipeline.consent.addresses import KEYS
from pipeline.consent.lists import list_keys
from pipeline.engine import LocalEngine
from pipeline.run import QUERIES
from pipeline.storage import TableWriter
from pipeline.job import Job, perform
from pipeline.work import key64, read_receipt
from pipeline.memory import peak

folder = Path(sys.argv[1])
before = peak()
job = Job("lists", 0, folder / "00000", "", list_keys, (), {"list": (str(folder / "list.txt"),)}, folder / ".counters", 0)
perform(job)
receipt = read_receipt(job.prefix)
assert receipt is not None and receipt.error is None, receipt
keys = TableWriter(folder / "keys.parquet", KEYS)
for row in range(1000):
    keys.write({"shard": 0, "row": row, "position": -1, "name": 1, "name_key": key64(f"host{row * 7}.example")})
keys.close()
with LocalEngine(EngineSettings(memory=300 * 10**6), folder / "spill") as engine:
    query = (QUERIES / "listed.sql").read_text()
    engine.sql(query, folder / "answer", keys=[str(folder / "keys.parquet")], listed=[f"{job.prefix}.listed.parquet"])
after = peak()
print(receipt.rows_out, (after - before) // 10**6)
"""


@pytest.mark.parametrize("lines", [3 * 10**5, pytest.param(10**7, marks=pytest.mark.slow)])
@pytest.mark.timeout(1200)
def test_a_list_of_millions_is_joined_in_bounded_memory(lines: int, tmp_path: Path) -> None:
    with (tmp_path / "list.txt").open("w") as file:
        file.writelines(f"host{number}.example\n" for number in range(lines))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, check=True, timeout=1000
    )
    listed, grown = map(int, done.stdout.split())
    assert listed == lines
    assert len(list(read_rows(next((tmp_path / "answer").rglob("*.parquet"))))) == 1000
    assert grown < 500, f"{grown} MB"  # as a set of strings ten million hosts take more than a gigabyte
