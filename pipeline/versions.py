"""A value, or a module of ours, in; a digest that changes with it, or with all code and shipped data it uses, out."""

import ast
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.storage import sha256_of

ROOT = Path(__file__).parent.parent
DATA = [ROOT / "filters" / "data", ROOT / "pipeline" / "html" / "data"]  # word lists and models that come along


def digest(value: Any) -> str:
    """24 hexadecimal digits that tell one value from another."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:24]


@cache
def code_version(module: str) -> str:
    """A hash of the module's source, of all modules of ours that it imports and of the shipped data that these name: the
    version of a stage's code. Settings are hashed by value, so the modules that check them do not count."""
    return digest(_sources(module))


def _sources(module: str) -> dict[str, str]:
    """By name the text of each module, and the digest of each word list or model that one of them reads."""
    sources: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in sources or name.split(".")[:2] == ["pipeline", "config"]:
            continue
        sources[name] = _source(name).read_text(encoding="utf-8")
        waiting += sorted(_imports(sources[name]))
    shipped = [path for folder in DATA for path in sorted(folder.iterdir()) if path.is_file()]
    read = [path for path in shipped if any(f'"{path.name}"' in source for source in sources.values())]
    return sources | {path.name: sha256_of(path) for path in read}


@cache  # stages share most of their modules
def _imports(source: str) -> set[str]:
    """The modules of ours that a source imports, within functions too; those statements alone are looked at."""
    found = set()
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        for inside in ("body", "orelse", "finalbody", "handlers", "cases"):
            statements = getattr(node, inside, [])
            waiting += statements if isinstance(statements, list) else []
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in ("pipeline", "filters"):
            found.add(node.module)
            found |= {
                f"{node.module}.{alias.name}" for alias in node.names if _source(f"{node.module}.{alias.name}").exists()
            }
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] in ("pipeline", "filters")}
    return found


def _source(module: str) -> Path:
    """The file of a module of ours; found without importing it, which could ask for an extra that is not installed."""
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
