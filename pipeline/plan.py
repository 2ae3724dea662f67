"""A configuration in; what its run will take by a pilot, and once it has run beside it what it took, out."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.forecast import GB, HOUR, REPLICATES, Draws, Estimate, cores, estimate, figures_of, unknown
from pipeline.funnel import Summary, funnel, size
from pipeline.output import read_run
from pipeline.pilot import measure
from pipeline.places import make_folder, place, read_bytes
from pipeline.receipts import stage_receipts
from pipeline.storage import write_json


@dataclass(frozen=True)
class Forecast:
    """`figures` by name; those of a stage are called `documents/STAGE` and `core-hours/STAGE`."""

    of: str  # the configuration, so that a plan is not compared with the run of another
    sample: dict[str, float]
    figures: dict[str, Estimate]
    unknown: list[str]


def forecast(config: Config, path: str) -> Forecast:
    """Runs the pilot and keeps what it says beside the output, in `OUTPUT.plan.json`.

    Raises:
        UserError: the input is empty, or the pilot cannot be run.
    """
    measured = measure(config, path)
    draws = Draws(measured, config.plan)
    figures = {name: estimate(drawn) for name, drawn in figures_of(measured, config, draws).items()}
    sample = {
        "seconds": config.plan.seconds,
        "seed": config.plan.seed,
        "pieces": len(measured.bytes),
        "bytes": float(measured.bytes.sum()),
        "share": measured.share,
        "workers": measured.workers,
    }
    made = Forecast(_mark(config), sample, figures, measured.unknown + list(unknown(measured, config)))
    beside = kept_at(config)
    try:
        make_folder(beside.parent)
        write_json(beside, asdict(made))
    except OSError as error:
        raise UserError(f"{path}: output: {beside} cannot be written: {error.strerror}") from None
    return made


def kept_at(config: Config) -> Path:
    """Beside the output folder, which belongs to the run alone."""
    output = place(config.output)
    return output.with_name(output.name + ".plan.json")


def kept(config: Config) -> Forecast | None:
    """The forecast that was made for this configuration, if there is one."""
    try:
        raw = json.loads(read_bytes(kept_at(config)))
        raw["figures"] = {name: Estimate(**figure) for name, figure in raw["figures"].items()}
        found = Forecast(**raw)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return found if found.of == _mark(config) else None


def real(config: Config) -> dict[str, float] | None:
    """The same figures of the run, as far as it has come; none where there is no run."""
    folder = place(config.output)
    if read_run(folder) is None:
        return None
    summaries = [summary for summary in funnel(folder) if summary.shards]
    by_stage = {summary.stage: summary for summary in summaries}
    if "documents" not in by_stage:
        return None
    figures = {"pages": float(by_stage["documents"].rows_in)}
    for summary in summaries:
        if not summary.query:
            figures[f"documents/{summary.stage}"] = float(summary.rows_out)
        stage = f"core-hours/{summary.stage.partition('/')[0]}"
        figures[stage] = figures.get(stage, 0.0) + summary.processor / HOUR
    figures["images wanted"] = _rows(folder, "consent", "wanted")
    figures["images of the crawl"] = _rows(folder, "images", "pixels")
    figures["core-hours"] = sum(summary.processor for summary in summaries) / HOUR
    figures["days"] = figures["core-hours"] / cores(config) / 24
    figures["GB corpus"] = by_stage.get("export", Summary("export")).bytes / GB
    figures["GB stored"] = sum(summary.bytes for summary in summaries) / GB
    prices = config.plan.prices
    for name, price, paid in (("core-hours", prices.core_hour, 1), ("GB stored", prices.gb_month, config.plan.months)):
        if price is not None:
            figures[f"money/{name}"] = figures[name] * price * paid
    return figures


def _rows(folder: Path, stage: str, table: str) -> float:
    receipts = stage_receipts(folder / "stages" / stage)
    return float(sum(receipt.tables.get(table, {"rows": 0})["rows"] for receipt in receipts))


def _mark(config: Config) -> str:
    """Of all that decides what a forecast says."""
    aside = dict.fromkeys(("output", "engine", "metrics", "logs"), True)
    said = config.model_dump(mode="json", exclude=aside | {"plan": {"seconds"}})
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:24]


def print_forecast(made: Forecast, done: dict[str, float] | None, console: Console) -> None:
    """Planned, and beside it the run, where there is one: the whole, then stage by stage."""
    s = made.sample
    console.print(
        f"Planned from {s['pieces']:.0f} pieces, {size(int(s['bytes']))}, {s['share']:.3g} of the input, drawn with seed "
        f"{s['seed']:.0f}. Between: 95 % of {REPLICATES:,} replicates, the pieces drawn anew with replacement and what no "
        "sample shows at either end of its range. Core-hours are those of a core of this machine.\n"
    )
    for kind in ("", "documents/", "core-hours/", "money/"):
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column({"": "whole", "documents/": "documents after"}.get(kind, kind.rstrip("/")), min_width=20)
        for name in ("planned", "between", "and", *(("real", "") if done else ())):
            table.add_column(name, justify="right", min_width=10 if name else 5)
        for name, figure in made.figures.items():
            least = 0.05 / HOUR if kind == "core-hours/" else 0  # what would be shown as 0.0 s
            if name.startswith(kind) and (kind or "/" not in name) and figure.high > least:
                there = done.get(name) if done else None
                row = [_shown(name, number) for number in (figure.value, figure.low, figure.high)]
                row += [] if there is None else [_shown(name, there), _beside(there, figure)]
                table.add_row(name.removeprefix(kind), *row)
        if table.row_count:
            console.print(table)
            console.print()
    for told in made.unknown:
        console.print(f"Not known: {told}.", soft_wrap=True)


def _beside(there: float, figure: Estimate) -> str:
    return "" if figure.low <= there <= figure.high else "above" if there > figure.high else "below"


def _shown(name: str, value: float) -> str:
    """With the unit of the figure, where its name does not say it: 0.0047 hours are 16.9 s."""
    hours = value * 24 if name == "days" else value
    if name.startswith(("core-hours", "GPU-hours", "days")) and hours < 1:
        return f"{hours * HOUR:,.1f} s"
    if name.startswith("GB"):
        return size(int(value * GB))
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def as_json(made: Forecast, done: dict[str, float] | None) -> dict[str, Any]:
    return asdict(made) | ({"real": done} if done else {})
