"""What the pieces of a sample took in; every figure of the whole, with its spread, out."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.config import Config, Plan
from pipeline.funnel import PUBLISHED
from pipeline.pilot import Measured, Numbers

REPLICATES = 1000
BETWEEN = (2.5, 97.5)  # percentiles: an interval of 95 %
BUSY = (0.8, 1.25)  # times the seconds that the same work takes, by what else its cores and caches do
UNSEEN = 3.0  # what was not seen once in n pages is by 95 % fewer than this many times as frequent as one in n
ALONE = (0.5, 1.5)  # times what a single piece says, which cannot tell how pieces differ
COMPRESSED = (0.6, 1.0)  # bytes of the run's tables, as a share of those of a small sample's, which compress less
GB, HOUR = 10**9, 3600
PRICED = {
    "core_hour": "core-hours",
    "gpu_hour": "GPU-hours",
    "gb_read": "GB read",
    "gb_month": "GB stored",
    "thousand_requests": "requests",
}


@dataclass(frozen=True)
class Estimate:
    value: float
    low: float
    high: float


class Draws:
    """Replicates of the sample: its pieces drawn anew with replacement. Every figure is an array, first what the sample
    itself says, then what REPLICATES others would have said; a share that no sample shows is at either end of its range."""

    def __init__(self, measured: Measured, plan: Plan) -> None:
        self.measured, self.count = measured, len(measured.bytes)
        self._random = np.random.default_rng(plan.seed)
        drawn = self._random.multinomial(self.count, np.full(self.count, 1 / self.count), REPLICATES)
        self.times = np.vstack([np.ones(self.count), drawn])
        # Few pieces vary less among themselves than what they were drawn from: n - 1 for n, and Student's t for the normal
        # distribution, whose 97.5 % quotient the last factor gives within a tenth for any number of pieces.
        more = self.count - 1
        self.wider = np.sqrt(self.count / more) * (1 + 1.2 / (more - 0.8)) if more else 1.0

    def between(self, low: Numbers | float, high: Numbers | float) -> Numbers:
        end = self._random.integers(0, 2, REPLICATES + 1).astype(float)
        end[0] = 0.5
        return np.asarray(low + (high - low) * end)

    def counted(self, values: Numbers) -> Numbers:
        """The whole's total of what was counted in each piece; exact where all was drawn."""
        left = 1 - self.measured.share
        if not values.any():
            most = UNSEEN * left / self.measured.share
            return np.concatenate([[0.0], self._random.uniform(0, most, REPLICATES)])
        total = self._total(values, self.measured.bytes)
        spread = np.sqrt(max(0.0, left)) * self.wider
        return np.asarray(np.maximum(total[0] + (total - total[0]) * spread, values.sum()))

    def timed(self, values: Numbers) -> Numbers:
        """The same of seconds, by the pieces that were timed: the time of a page varies even where all were seen."""
        total = self._total(values * self.measured.timed, self.measured.bytes * self.measured.timed)
        return np.asarray(np.maximum(0, total[0] + (total - total[0]) * self.wider))

    def _total(self, values: Numbers, stand_for: Numbers) -> Numbers:
        if self.count == 1:
            return float(self.measured.whole * values.sum() / stand_for.sum()) * self.between(*ALONE)
        seen, of = self.times @ values, self.times @ stand_for
        total = self.measured.whole * seen / np.maximum(of, 1)
        return np.where(of > 0, total, total[0])


def estimate(drawn: Numbers) -> Estimate:
    low, high = np.percentile(drawn[1:], BETWEEN)
    return Estimate(*(float(f"{number:.6g}") for number in (drawn[0], min(low, drawn[0]), max(high, drawn[0]))))


def figures_of(measured: Measured, config: Config, draws: Draws) -> dict[str, Numbers]:
    """All figures as draws; the order is that in which they are shown."""
    asked = [source for source in config.images.sources if source != "crawl"]
    nothing = np.zeros(REPLICATES + 1)
    stages = [name for name in measured.rows_in if "/" not in name]
    late = stages.index("unique")
    left = draws.between(1 - _duplicates(measured, config), 1.0)  # of documents, by decisions over the whole

    out = {name: draws.counted(measured.rows_out[name]) for name in stages}
    for name in stages[late:]:
        out[name] = out[name] * left
    wanted = draws.counted(measured.tables["wanted"]) * left
    # An image is seen to be in the crawl where page and image were both drawn. Others may be, if records of images are left.
    beside = draws.counted(measured.tables["pixels"]) * left
    records = draws.counted(measured.tables["records"]) if measured.tables["records"].any() else nothing
    held = draws.between(beside, np.maximum(beside, np.minimum(wanted, records))) if measured.share < 1 else beside
    fetched = (wanted - np.minimum(held, wanted)) * draws.between(*config.plan.answered) if asked else nothing
    seen = bool(measured.tables["pixels"].any())
    more = (held + fetched) / np.maximum(beside, 1e-9) if seen else np.ones(REPLICATES + 1)
    unseen = (fetched if seen else fetched + held) * draws.between(*config.plan.image_size)  # bytes
    for name in stages[stages.index("images") + 1 :]:
        if asked or (records.any() and not seen):  # how many documents keep an image that was not tried is not known
            out[name] = draws.between(np.minimum(out[name], out["images"]), out["images"])
        else:
            out[name] = np.minimum(out[name] * more, out["images"])

    busy = draws.between(*BUSY) / np.mean(BUSY)
    workers = config.engine.workers or os.cpu_count() or 1
    seconds: dict[str, Numbers] = {"of the whole": nothing + measured.once}
    for name, values in measured.seconds.items():
        scale = left if name in stages[late + 1 :] else np.ones(REPLICATES + 1)
        if name in stages[stages.index("images") :]:
            scale = scale * more
        spent = draws.timed(values) * scale + measured.idle[name] * measured.shards + measured.start[name] * workers
        stage = name.partition("/")[0]
        seconds[stage] = seconds.get(stage, nothing) + spent * busy
    export = measured.export
    a_document = 1 / max(1, export.rows_out)
    seconds["export"] = out["final"] * export.seconds * a_document

    figures = {"pages": draws.counted(measured.rows_in["documents"])}
    figures |= {f"documents/{name}": out[name] for name in stages}
    figures |= {f"core-hours/{name}": spent / HOUR for name, spent in seconds.items()}
    figures["documents/export"] = out["final"]
    figures["images wanted"], figures["images of the crawl"] = wanted, held
    figures["images fetched"] = fetched
    figures["core-hours"] = np.sum([spent / HOUR for spent in seconds.values()], axis=0)
    figures["GPU-hours"] = seconds["images"] / HOUR / measured.workers if _on_gpu(config) else nothing
    figures["GB read"] = (measured.whole + (unseen if asked else nothing)) / GB
    pixels = unseen + (draws.counted(measured.pixels) * left if seen else nothing) * (np.ones(1) if asked else more)
    tables = np.sum([draws.counted(stored) for stored in measured.stored.values() if stored.any()] or [nothing], axis=0)
    tables = np.maximum(0, tables - draws.counted(measured.pixels)) if seen else tables
    by_document = export.rows_out and not asked
    figures["GB corpus"] = (out["final"] * export.bytes * a_document if by_document else pixels) / GB
    answers = unseen if asked else nothing  # are kept beside the images that were taken of them
    stored = tables * draws.between(*COMPRESSED) + pixels + answers
    figures["GB stored"] = stored / GB + figures["GB corpus"]
    figures["requests, crawl"] = nothing + (measured.shards if measured.remote else 0)
    figures["requests, images"] = wanted if asked else nothing
    figures["days"] = figures["core-hours"] / cores(config) / 24
    return figures | _money(config, figures)


def _money(config: Config, figures: dict[str, Numbers]) -> dict[str, Numbers]:
    used, prices = _used(config, figures), config.plan.prices.model_dump()
    costs = {f"money/{PRICED[name]}": used[name] * prices[name] for name in used if prices[name] is not None}
    return costs | ({"money": np.sum(list(costs.values()), axis=0)} if costs else {})


def _used(config: Config, figures: dict[str, Numbers]) -> dict[str, Numbers]:
    """What there is a price for."""
    return {
        "core_hour": figures["core-hours"],
        "gpu_hour": figures["GPU-hours"],
        "gb_read": figures["GB read"],
        "gb_month": figures["GB stored"] * config.plan.months,
        "thousand_requests": (figures["requests, crawl"] + figures["requests, images"]) / 1000,
    }


def _duplicates(measured: Measured, config: Config) -> float:
    """The share of documents that decisions over the whole may take, beyond what they took of the sample."""
    c = config.duplicates
    if measured.share == 1 or not (c.latest_url or c.near_duplicate or c.latest_image_set):
        return 0.0
    if config.plan.duplicates is not None:
        return config.plan.duplicates
    return 1 - (1 - PUBLISHED["latest_url"]) * (1 - PUBLISHED["latest_image_set"])


def _on_gpu(config: Config) -> bool:
    scores = config.images.scores
    return any(model is not None and model.device == "cuda" for model in (scores.nsfw, scores.clip, scores.aesthetic))


def cores(config: Config) -> int:
    return config.plan.cores or config.engine.workers or os.cpu_count() or 1


def unknown(measured: Measured, config: Config) -> Iterator[str]:
    """What the sample cannot say, and what was taken in its place."""
    if not measured.rows_in["documents"].any():
        yield "no page lies in the sample: enlarge it (--seconds), or look at the input"
    if taken := _duplicates(measured, config):
        source = "plan.duplicates" if config.plan.duplicates is not None else "what OBELICS lost to them"
        yield (
            f"decisions over the whole corpus cannot be seen in a sample: from what they took of it to {taken:.1%} more of the "
            f"documents ({source})"
        )
    if len(measured.bytes) == 1 and measured.share < 1:
        yield f"one piece cannot tell how pieces differ: {ALONE[0]:g} to {ALONE[1]:g} times what it says"
    if measured.share < 1 and measured.tables["records"].any():
        yield "an image counts as the crawl's from where page and image were both drawn to where every record is of use"
    if not measured.tables["pixels"].any():
        low, high = (size / 1000 for size in config.plan.image_size)
        yield (
            f"no image was seen: what decoding and scoring takes is not counted, and one is taken to have {low:,.0f} to "
            f"{high:,.0f} kB in the mean (plan.image_size)"
        )
    yield "queries over the keys of the whole corpus are not counted, nor is waiting"
    if missing := [name for name, price in config.plan.prices.model_dump().items() if price is None]:
        yield f"no price, so not in the money: {', '.join(missing)} (plan.prices)"
