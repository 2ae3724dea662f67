"""README, held against the project that it describes: its tree, its tables, its YAML, the files and commands that it names."""

import argparse
import re
import tomllib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from pipeline import config
from pipeline.cli import _parser
from pipeline.rules import ROOMS
from pipeline.training import config as training
from tests.conftest import ROOT
from tests.test_rules import known

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
SECTIONS = {
    part.partition("\n")[0]: part.partition("\n")[2] for part in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]
}


def cells(section: str) -> list[list[str]]:
    """The rows of the section's tables, heads and rules included; a bar within a cell is written `\\|`."""
    rows = (line for line in SECTIONS[section].splitlines() if line.startswith("|"))
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


PROSE = re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL)  # without what stands in blocks


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def test_the_tree_names_every_module_and_no_other() -> None:
    [tree] = re.findall(r"```\n(.*?)```", SECTIONS["Where things are"], re.DOTALL)
    named = set()
    folder = within = Path()
    for line in tree.splitlines():
        indent = len(line) - len(line.lstrip())
        first = line.split()[0]
        if indent == 0:
            folder = within = Path(first)
        elif indent == 2:
            within = folder / first if first.endswith("/") else folder
        named |= {within / name for name in re.findall(r"[\w/]+\.py\b", line)}
    there = {path.relative_to(ROOT) for name in ("filters", "pipeline") for path in (ROOT / name).rglob("*.py")}
    drawn = Path("pipeline/sample/pictures")  # a module a subject: the folder is enough
    assert named == {path for path in there if not path.stem.startswith("__") and path.parent != drawn}


def test_the_table_of_packages_names_every_dependency_with_its_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {"": project["dependencies"], **project["optional-dependencies"]}
    needed = {
        (re.split(r"[;\[ ]", wanted)[0], extra)
        for extra, packages in extras.items()
        for wanted in packages
        if not wanted.startswith("carnac[")
    }
    said = set()
    for packages, *_ in cells("What it is built with")[2:]:
        names, _, extra = packages.partition(" (")
        said |= {(name, extra.strip("`)")) for name in names.split(", ")}
    assert said == needed


def options() -> dict[str, set[str]]:
    """Of each command its options, long ones by name and positional ones as they are shown."""
    [commands] = (action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction))
    return {
        name: {
            action.option_strings[-1] if action.option_strings else str(action.metavar)
            for action in parser._actions
            if not isinstance(action, argparse._HelpAction)
        }
        for name, parser in commands.choices.items()
    }


def test_the_table_of_commands_names_every_command_with_its_options() -> None:
    said = {}
    for shown, does in cells("Commands")[2:]:
        [usage] = quoted(shown.replace("\\|", "|"))
        _, name, *words = re.sub(r"\[--[^]]*\]+", "", usage).replace("…", "").split()
        said[name] = {word.strip("[]") for word in words} | set(re.findall(r"--[\w-]+", usage))
        assert set(re.findall(r"--[\w-]+", does)) <= said[name]
    assert said == options()


def test_the_tables_of_rules_name_every_rule() -> None:
    # Rules stand in the first column, or, in the table of other corpora, in the second.
    named = {name for first, *more in cells("Every rule") for name in quoted(first) or quoted(more[0])}
    assert named == {name for room in ROOMS for name in known(room)}


def test_every_row_of_a_table_has_a_cell_for_each_head() -> None:
    for section in SECTIONS.values():
        for table in re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE):
            assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1, table


def yaml_blocks() -> list[Any]:
    """All but those of the section on additions, which take what they add (tests/test_extending.py)."""
    return [
        yaml.safe_load(block)
        for name, section in SECTIONS.items()
        if not name.startswith("How to add")
        for block in re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    ]


@pytest.mark.parametrize("block", yaml_blocks(), ids=",".join)
def test_a_block_of_yaml_is_accepted(block: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pq.write_table(pa.table({"question_id": [1], "question": ["Why?"], "image": [b""]}), "vqav2.parquet")
    if block.keys() <= config.Config.model_fields.keys():
        whole: dict[str, Any] = {"name": "part", "output": "run", "input": {"paths": ["crawl"]}}
        config.validate(config.Config, whole | block, "README.md")
    else:
        whole = config.read_yaml(str(ROOT / "configs" / "tiny" / "train-idefics-9b.yaml"))
        config.validate(training.TrainConfig, whole | block, "README.md")


def test_every_file_that_is_named_exists() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", TEXT) if "://" not in link]
    named = [name for name in quoted(PROSE) if re.fullmatch(r"(configs|filters|pipeline|tests)/[\w./-]+", name)]
    assert links
    assert named
    assert [name for name in links + named if not (ROOT / name).exists()] == []


def test_every_module_and_benchmark_that_is_named_exists() -> None:
    named = re.findall(r"python -m (tests\.[\w.]+\.\w+|pipeline\.[\w.]+)", TEXT)
    measured = [name for names in re.findall(r"python -m tests\.benchmarks ([\w ]+)`", TEXT) for name in names.split()]
    assert named
    assert measured
    files = [name.replace(".", "/") for name in named] + [f"tests/benchmarks/{name}" for name in measured]
    assert [name for name in files if not (ROOT / name).with_suffix(".py").is_file()] == []


def makefile() -> str:
    return (ROOT / "Makefile").read_text(encoding="utf-8")


def test_make_help_tells_every_target() -> None:
    [phony] = re.findall(r"^\.PHONY: (.*)$", makefile(), re.MULTILINE)
    assert re.findall(r"^([a-z]+):.*##", makefile(), re.MULTILINE) == phony.split()
    assert [target for target in re.findall(r"`make (\w+)`", PROSE) if target not in phony.split()] == []


def test_pre_commit_runs_what_make_check_runs() -> None:
    [recipe] = re.findall(r"^check:.*\n((?:\t.*\n)+)", makefile(), re.MULTILINE)
    [local] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert [hook["entry"] for hook in local["hooks"]] == [
        line.strip().replace("$(BIN)", ".venv/bin") for line in recipe.splitlines()
    ]
    assert {hook["language"] for hook in local["hooks"]} == {"system"}
