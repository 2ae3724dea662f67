"""What all sections are made of: their base, and the kinds of values that several of them have."""

import ipaddress
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

_UNITS = {"": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def _bytes(value: object) -> object:
    if not isinstance(value, str):
        return value
    number = value.rstrip("BkKMGT ")
    try:
        return int(float(number) * _UNITS[value[len(number) :].strip()])
    except (KeyError, ValueError, OverflowError):
        raise ValueError(f"{value!r} is no size; write 500 MB or 4 GB") from None


Bytes = Annotated[int, BeforeValidator(_bytes), Field(gt=0)]


def _network(cidr: str) -> str:
    ipaddress.ip_network(cidr)
    return cidr


def _readable(path: str) -> str:
    try:
        Path(path).open("rb").close()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    return path


Network = Annotated[str, AfterValidator(_network)]  # 10.1.0.0/16
Readable = Annotated[str, AfterValidator(_readable)]  # a file


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Agent(Section):
    user_agent: str = Field(default="carnac/0.1", min_length=1, pattern=r"^[\x20-\x7e]+$")
    contact: str | None = Field(default=None, pattern=r"^[\x21-\x7e]+$")  # an address where you can be reached

    @property
    def agent(self) -> str:
        """The header by which servers know us."""
        return f"{self.user_agent} (+{self.contact})" if self.contact else self.user_agent
