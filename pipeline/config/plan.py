"""What `carnac plan` is told of the machines and of what no sample can show: the settings under `plan`."""

from typing import Annotated

from pydantic import AfterValidator, Field

from pipeline.config.section import Bytes, Section


class Prices(Section):
    """Of what a run uses, in a currency of yours; what has no price is told, not taken for free."""

    core_hour: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    gpu_hour: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    gb_read: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    gb_month: float | None = Field(default=None, ge=0, allow_inf_nan=False)  # of what is stored
    thousand_requests: float | None = Field(default=None, ge=0, allow_inf_nan=False)


def _rising(between: tuple[float, float]) -> tuple[float, float]:
    if between[0] > between[1]:
        raise ValueError(f"{between[0]:g} to {between[1]:g}: the lower end comes first")
    return between


_Share = Annotated[float, Field(ge=0, le=1)]


class Plan(Section):
    """What `carnac plan` draws, and what it takes for known that no sample can show. No stage reads it."""

    seconds: float = Field(default=60, gt=0, allow_inf_nan=False)  # of one core, about, for the pilot
    seed: int = Field(default=1, ge=0)  # of the sample
    cores: int | None = Field(default=None, ge=1)  # that the run will have; none: its workers
    months: float = Field(default=1, ge=0, allow_inf_nan=False)  # for which what is stored is paid
    duplicates: _Share | None = (
        None  # share that decisions over the whole take at most; none: what OBELICS lost to them
    )
    answered: Annotated[tuple[_Share, _Share], AfterValidator(_rising)] = (
        0.3,
        0.95,
    )  # of image addresses, by mirror or web
    image_size: Annotated[tuple[Bytes, Bytes], AfterValidator(_rising)] = (20_000, 200_000)  # in the mean, of those
    prices: Prices = Prices()
