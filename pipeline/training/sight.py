"""Figures of steps in; a line a step in `train.jsonl`, some of them on the terminal, and trackers, out."""

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

import torch

from pipeline.errors import UserError
from pipeline.storage import aside
from pipeline.training.config import Sight as SightSettings
from pipeline.training.config import TrainConfig
from pipeline.training.flops import peak
from pipeline.training.parallel import Ranks

LOG = "train.jsonl"
ENDINGS = {"end", "few_shot", "sample"}  # events that belong to a training's end: one that goes on has them later


@dataclass(slots=True)
class Window:
    """Sums over the steps since the last line on the terminal, or over all."""

    steps: int = 0
    seconds: float = 0.0
    waited: float = 0.0  # for data
    tokens: float = 0.0
    images: float = 0.0
    places: float = 0.0
    flops: float = 0.0  # of the model, without weight gradients of frozen parts
    hardware: float = 0.0  # with what is computed twice

    def add(self, figures: Mapping[str, float], seconds: float, waited: float, flops: tuple[float, float]) -> None:
        self.steps += 1
        self.seconds += seconds
        self.waited += waited
        self.tokens += figures["tokens"]
        self.images += figures["images"]
        self.places += figures["places"]
        self.flops += flops[0]
        self.hardware += flops[1]

    def remove(self, steps: int) -> None:
        """Takes back so many steps, each for an average one."""
        share = 1 - min(1.0, steps / max(1, self.steps))
        self.steps = round(self.steps * share)
        for name in ("seconds", "waited", "tokens", "images", "places", "flops", "hardware"):
            setattr(self, name, getattr(self, name) * share)

    def rates(self, peak: float | None) -> dict[str, float]:
        """Per second of wall clock, and shares; `peak` in FLOP/s of all GPUs together."""
        seconds = max(self.seconds, 1e-9)
        found = {
            "tokens_per_second": round(self.tokens / seconds, 1),
            "images_per_second": round(self.images / seconds, 2),
            "padding": round(1 - self.tokens / max(1.0, self.places), 4),
            "data_wait": round(self.waited / seconds, 4),
        }
        if peak:
            found |= {
                "mfu": round(self.flops / seconds / peak, 4),
                "hfu": round(self.hardware / seconds / peak, 4),
            }
        return found


class Sight:
    """What a training shows and keeps. The first rank has the output folder; the others, without one, say nothing.

    `peak` is FLOP/s of all GPUs together, where it is known.
    """

    def __init__(
        self, config: TrainConfig, folder: Path | None, report: Callable[[str], None], peak: float | None = None
    ) -> None:
        self.config, self.report, self.peak = config, report, peak
        self.total, self.recent = Window(), Window()
        self._began = time.monotonic()
        self._path = folder / LOG if folder else None
        self._log: TextIO | None = None
        self._trackers = trackers(config, folder) if folder else []

    def rewind(self, step: int) -> None:
        """Opens the log, without what it says of steps after `step`, which are made again, and a line cut short."""
        self.close()
        if self._path is None:
            return
        events = _events(self._path) if step else ()
        kept = [line for line, event in events if event["step"] <= step and event["event"] not in ENDINGS]
        with aside(self._path) as temporary:
            temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        self._log = self._path.open("a", encoding="utf-8", buffering=1)

    def close(self) -> None:
        if self._log is not None:
            self._log.close()
            self._log = None

    def event(self, name: str, step: int, **values: Any) -> None:
        if self._log is not None:
            self._log.write(json.dumps({"event": name, "step": step, **_finite(values)}, ensure_ascii=False) + "\n")

    def due(self, step: int) -> bool:
        """Whether a step is shown on the terminal."""
        return step % self.config.sight.every == 0 or step in {1, self.config.steps}

    def step(
        self,
        step: int,
        figures: Mapping[str, float],
        values: Mapping[str, Any],
        seconds: float,
        waited: float,
        flops: tuple[float, float],
    ) -> None:
        """A step's figures as they came from the device, and further `values`."""
        alone = Window()
        for window in (alone, self.recent, self.total):
            window.add(figures, seconds, waited, flops)
        shown = {name: figures[name] for name in ("loss", "z_loss", "gradient_norm")} | dict(values)
        shown |= {"tokens": int(figures["tokens"]), "images": int(figures["images"])}
        shown |= {"seconds": round(seconds, 4), "data_seconds": round(waited, 4)}
        if figures["dropped"]:
            shown["dropped"] = True
        shown |= alone.rates(self.peak)
        shown["losses"] = {s: figures[f"loss/{s}"] for s in _after(figures, "learned/") if figures[f"learned/{s}"]}
        shown["learned"] = {s: int(figures[f"learned/{s}"]) for s in _after(figures, "learned/")}
        shown["gradient_norms"] = {part: figures[f"gradient_norm/{part}"] for part in _after(figures, "gradient_norm/")}
        self.event("step", step, **shown)
        if self.due(step):
            self.report(self._line(step, shown))
            flat = dict(_numbers(shown))
            for tracker in self._trackers:
                tracker(step, flat)
            self.recent = Window()

    def _line(self, step: int, shown: Mapping[str, Any]) -> str:
        rates = self.recent.rates(self.peak)
        left = (self.config.steps - step) * self.recent.seconds / max(1, self.recent.steps)
        said = [
            f"step {step:>{len(str(self.config.steps))}}/{self.config.steps}",
            f"loss {shown['loss']:.4f}",
            f"z {shown['z_loss']:.2f}",
            f"gradient {shown['gradient_norm']:.3f}",
            f"rate {shown['learning_rate']:.2e}",
            f"{rates['tokens_per_second']:,.0f} tokens/s",
            f"{rates['images_per_second']:,.1f} images/s",
            f"padding {rates['padding']:.1%}",
            f"data wait {rates['data_wait']:.1%}",
        ]
        if "mfu" in rates:
            said.append(f"MFU {rates['mfu']:.1%}")
        if "memory" in shown:
            said.append(f"{shown['memory'] / 2**30:.1f} GiB")
        return "  ".join([*said, f"{duration(left)} left"])

    def end(self, step: int, **values: Any) -> None:
        """The last event, with rates over all steps. Effective MFU is that of tokens that are no padding, over all the
        time since the start: checkpoints, validation and steps made twice count against it."""
        rates = self.total.rates(self.peak)
        goodput = self.total.seconds / max(time.monotonic() - self._began, 1e-9)
        rates["goodput"] = round(min(1.0, goodput), 4)
        if "mfu" in rates:
            rates["effective_mfu"] = round(rates["mfu"] * (1 - rates["padding"]) * rates["goodput"], 4)
        self.event("end", step, **rates, **values)
        if self.total.steps:
            shown = [f"{rates['tokens_per_second']:,.0f} tokens/s", f"{rates['images_per_second']:,.1f} images/s"]
            shown += [f"padding {rates['padding']:.1%}", f"goodput {rates['goodput']:.1%}"]
            shown += [f"effective MFU {rates['effective_mfu']:.1%}"] if "effective_mfu" in rates else []
            self.report(f"{self.total.steps:,} steps: " + ", ".join(shown))

    def undo(self, steps: int) -> None:
        """Steps that are made again were in vain: their time counts, what they did does not."""
        self.total.remove(steps)
        self.recent = Window()


def finished(folder: Path, steps: int) -> bool:
    """Whether the log says that a training came to its end with so many steps."""
    return any(event["event"] == "end" and event["step"] == steps for _, event in _events(folder / LOG))


def _events(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The lines of a log and what they hold; one that was cut short is passed over."""
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            yield line, json.loads(line)
        except ValueError:
            continue


def trackers(config: TrainConfig, folder: Path) -> list[Callable[[int, dict[str, float]], None]]:
    """What `sight.trackers` names, ready to take numbers of a step.

    Raises:
        UserError: one that is not installed.
    """
    found = []
    for name in config.sight.trackers:
        try:
            module = import_module("torch.utils.tensorboard" if name == "tensorboard" else name)
        except ImportError:
            raise UserError(f"sight.trackers: {name} is not installed: pip install {name}") from None
        found.append(_tensorboard(module, folder) if name == "tensorboard" else _run(module, config, folder))
    return found


def _tensorboard(module: Any, folder: Path) -> Callable[[int, dict[str, float]], None]:
    writer = module.SummaryWriter(str(folder / "tensorboard"))

    def track(step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)
        writer.flush()

    return track


def _run(module: Any, config: TrainConfig, folder: Path) -> Callable[[int, dict[str, float]], None]:
    """wandb, and trackio, which has its interface."""
    run = module.init(project="carnac", name=folder.name, config=config.model_dump())
    return lambda step, values: run.log(values, step=step)


def most(settings: SightSettings, ranks: Ranks) -> float | None:
    """FLOP/s of all GPUs together at most; None where that is not known, as of a CPU."""
    if settings.peak_teraflops:
        return settings.peak_teraflops * 1e12 * ranks.world
    if ranks.device.type != "cuda":
        return None
    of_one = peak(torch.cuda.get_device_name(ranks.device))
    return of_one and of_one * ranks.world


def gates(model: Any) -> dict[str, float]:
    """tanh of each gate's alpha, averaged where it has several: 0 is closed, as a new model's are."""
    named = [(name, p) for name, p in model.named_parameters() if name.rpartition(".")[2].startswith("alpha")]
    if not named:
        return {}
    with torch.no_grad():
        values = torch.stack([_whole(parameter).float().tanh().mean() for _, parameter in named]).tolist()
    return {name.removeprefix("model."): round(value, 6) for (name, _), value in zip(named, values, strict=True)}


def duration(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    if hours >= 48:
        return f"{hours / 24:.1f} d"
    if hours >= 1:
        return f"{int(hours)} h {int(minutes % 60)} min"
    return f"{minutes:.0f} min" if minutes >= 2 else f"{seconds:.0f} s"


def _whole(tensor: Any) -> Any:
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def _after(figures: Mapping[str, float], start: str) -> list[str]:
    return [name.removeprefix(start) for name in figures if name.startswith(start)]


def _finite(value: Any) -> Any:
    """JSON has no word for what is no number: null."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _numbers(values: Mapping[str, Any], start: str = "") -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{start}{name}/")
        elif isinstance(value, int | float):
            yield start + name, float(value)
