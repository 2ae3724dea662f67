"""`i/n` in; which shards of a stage are this process's, and what the other parts of the run made of theirs, out."""

import json
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import UserError
from pipeline.places import read_bytes
from pipeline.storage import write_json
from pipeline.work import Receipt, read_receipt

POLL = (0.05, 5.0)  # seconds between two looks for a receipt, from the first on doubled up to the last
NAMED = 10  # shards that a message names


class NeverCame(UserError):
    """Others did not do their part."""

    status = 1


@dataclass(frozen=True)
class Part:
    """One of `count` processes that share a run through its folder alone, the first of which, 0, also asks the queries."""

    number: int
    count: int
    wait: float  # seconds without anything that is waited for
    token: str = field(default_factory=lambda: secrets.token_hex(8))  # of this process

    @classmethod
    def of(cls, text: str, wait: float) -> "Part":
        """A part as `--part` names it.

        Raises:
            UserError: it is not of the form i/n with i below n.
        """
        found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
        if not found or int(found[1]) >= int(found[2]):
            raise UserError(f"--part {text}: expected i/n, i from 0 to n - 1; as 0/3, 1/3 and 2/3")
        return cls(int(found[1]), int(found[2]), wait)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def leads(self) -> bool:
        return self.number == 0

    def mine(self, shard: int) -> bool:
        return shard % self.count == self.number

    @property
    def lease(self) -> str:
        """What it is called among those who hold the folder."""
        return f"part-{self.number}-of-{self.count}"

    def announce(self, folder: Path) -> None:
        """Tells the others that it is this process which does the part now."""
        write_json(self._place(folder, self.number), self.token)

    def receipts(self, folder: Path, name: str, wanted: dict[int, tuple[Path, str]]) -> Iterator[Receipt]:
        """Waits for the receipts of other parts' shards, each known by its prefix and fingerprint; yields them.

        Raises:
            NeverCame: none came for `wait` seconds.
        """
        waiting = dict(wanted)
        for shard, (prefix, fingerprint) in wanted.items():
            receipt = self._receipt(folder, shard, prefix, fingerprint)
            began, pause = time.monotonic(), POLL[0]
            while receipt is None:
                if time.monotonic() - began > self.wait:
                    here = {s: self._receipt(folder, s, *place) for s, place in waiting.items()}
                    missing = [s for s, receipt in here.items() if receipt is None]
                    if missing:
                        raise NeverCame(self._missing(name, missing))
                time.sleep(pause)
                pause = min(2 * pause, POLL[1])
                receipt = self._receipt(folder, shard, prefix, fingerprint)
            del waiting[shard]
            yield receipt

    def answered(self, name: str, prefix: Path, fingerprint: str) -> Receipt:
        """Waits until the first part has asked a query; its receipt.

        Raises:
            NeverCame: it has not for `wait` seconds.
        """
        began, pause = time.monotonic(), POLL[0]
        while (receipt := read_receipt(prefix)) is None or receipt.fingerprint != fingerprint:
            if time.monotonic() - began > self.wait:
                raise NeverCame(
                    f"{name}: part 0/{self.count}, which asks the queries, has not answered in {self.wait:g} s (--wait); start "
                    "it again with the same command"
                )
            time.sleep(pause)
            pause = min(2 * pause, POLL[1])
        return receipt

    def _receipt(self, folder: Path, shard: int, prefix: Path, fingerprint: str) -> Receipt | None:
        """What counts: a failure only of the process that has the shard's part now, for others are tried again."""
        receipt = read_receipt(prefix)
        if receipt is None or receipt.fingerprint != fingerprint:
            return None
        if receipt.error is None:
            return receipt
        try:
            now = json.loads(read_bytes(self._place(folder, shard % self.count)))
        except (OSError, ValueError):
            return None
        return receipt if receipt.by == now else None

    def _missing(self, name: str, missing: list[int]) -> str:
        parts = sorted({shard % self.count for shard in missing})
        shards = ", ".join(map(str, missing[:NAMED])) + (f" and {len(missing) - NAMED} more" if missing[NAMED:] else "")
        whose = ", ".join(f"{part}/{self.count}" for part in parts[:NAMED]) + (" and others" if parts[NAMED:] else "")
        return (
            f"{name}: waited {self.wait:g} s (--wait) in vain for the shards {shards} of the parts {whose}; start those again "
            "with the same command"
        )

    def _place(self, folder: Path, number: int) -> Path:
        return folder / f".part-{number}-of-{self.count}.json"
