"""Text that may come from the web in; lines out that a terminal and a log show and do not obey."""

import json
import re
import sys
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

LOG_WIDTH = 100  # columns of a table that goes to no terminal
# What JSON leaves as it is: DEL and the control characters of C1, what separates lines and turns the direction of writing,
# and halves of surrogate pairs, which no encoding can write.
_OBEYED = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """One line: white space of any kind is a space, and what else has no shape, such as ESC, is shown as U+FFFD."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)


def say(line: str, file: TextIO | None = None) -> None:
    """Prints it, printable; to standard output where no file is named."""
    print(printable(line), file=file)


def json_line(value: Any) -> str:
    """JSON with its letters as they are; what a terminal would obey is escaped, so that it reads back the same."""
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))


def console() -> "Console":
    """Standard output for tables, as wide as its terminal. Numbers within text are not coloured."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else LOG_WIDTH, highlight=False)


def counted(count: int, noun: str, plural: str = "") -> str:
    """1, "shard" → 1 shard; 1200, "shard" → 1,200 shards; `plural` where it is not the noun with an s"""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
