"""IDEFICS-9B of random weights and real shards in; utilisation, tokens a second, data wait and memory on a GPU out.

`python -m tests.benchmarks.training [--shards DIR] [--json FILE] [--only NAME …] [--small]`, on a machine with a GPU. Beside the
training as it is: each of its levers off, and the stock transformers model in a plain loop on the same batches. All are
credited with the operations that the mathematics ask for (`pipeline/training/flops.py`), so the shares can be compared.
Without --shards the sample crawl's are made. `--small`: a tiny model on whatever is there, to see that all of it works.
"""

import argparse
import gc
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from transformers import IdeficsForVisionText2Text

from pipeline.cli import main as carnac
from pipeline.training.batch import Batch
from pipeline.training.config import TrainConfig, load
from pipeline.training.export import stock_configuration
from pipeline.training.flops import Work, peak, work
from pipeline.training.freeze import freeze
from pipeline.training.guard import Spikes
from pipeline.training.image_forms import image_form
from pipeline.training.language import Language, language
from pipeline.training.loader import Loader
from pipeline.training.model import skeleton
from pipeline.training.optimizer import adamw
from pipeline.training.parallel import Ranks
from pipeline.training.setup import build
from pipeline.training.step import Step
from pipeline.training.trained import self_attention
from tests.conftest import ROOT
from tests.training_models import image_attention_mask, logit_losses, means

UTILISATION = 0.45  # of the device's peak
TOKENS = 11_800  # a second, padding not counted
WAIT = 0.01  # of the time, for data
WHOLE = "as it is"
STOCK = "stock transformers"
LEVERS: dict[str, list[str]] = {
    WHOLE: [],
    "without compile": ["parallel.compile=false"],
    "in fp32": ["parallel.precision=fp32"],
    "whole logits": ["loss.chunk=1000000000"],
    "padded images": [],
    "full recompute": ["parallel.recompute=full"],
}


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured; shares are of the device's peak where that is known."""

    name: str
    tokens_per_second: float = 0.0
    images_per_second: float = 0.0
    images_per_sequence: float = 0.0
    padding: float = 0.0
    wait: float = 0.0
    seconds_per_step: float = 0.0
    memory: int = 0  # bytes at most
    operations_per_second: float = 0.0
    utilisation: float | None = None
    loss: float = 0.0
    failed: str = ""


def settings(arguments: argparse.Namespace, changes: list[str]) -> TrainConfig:
    """The published configuration on one device, from random weights, four micro-batches a step."""
    name = "tiny/train-idefics-9b" if arguments.small else "train-idefics-9b"
    own = [f"data={{path: '{arguments.shards}'}}", "model.language=null", "model.vision_encoder=null"]
    own += (
        ["tokenizer={vocab_size: 512}", "parallel.compile=false"]
        if arguments.small
        else ["tokenizer={vocab_size: 32000}"]
    )
    if not arguments.small:
        own += ["data.lanes=8", "data.workers=8", f"micro_batch={arguments.micro_batch}"]
        own.append(f"batch_size={4 * arguments.micro_batch}")
    return load(str(ROOT / "configs" / f"{name}.yaml"), [*own, *changes])


def published(learned: Language, config: TrainConfig) -> Language:
    """The vocabulary of the published size, whatever could be learned from few shards."""
    size = config.tokenizer.vocab_size
    vocabulary = replace(learned.vocabulary, size=size, fake=size, image=size + 1, total=size + 2)
    return replace(learned, vocabulary=vocabulary, form=image_form(config, vocabulary))


def measured(
    name: str,
    config: TrainConfig,
    read: Language,
    steps: int,
    make: Callable[[], tuple[Callable[..., Any], Work]],
    device: Any,
) -> Row:
    """Drives steps over the batches of the loader; the first third warms up."""
    loader = Loader(config, read)
    run, amount = make()
    batches = iter(loader)
    each = config.batch_size // (config.micro_batch or config.batch_size)
    warm = max(1, steps // 3)
    tokens = images = places = waited = operations = 0.0
    before: Any = None
    loss = began = 0.0
    for number in range(warm + steps):
        if number == warm:
            synchronise(device)
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            began, waited = time.perf_counter(), 0.0
        drawing = time.perf_counter()
        drawn = list(islice(batches, each))
        waited += time.perf_counter() - drawing
        if number >= warm:
            tokens += sum(batch.tokens for batch in drawn)
            images += sum(batch.images for batch in drawn)
            places += sum(batch.input_ids.numel() for batch in drawn)
            operations += sum(amount.of(batch)[0] for batch in drawn)
        drawn = [padded(batch) for batch in drawn] if name == "padded images" else drawn
        figures = run(number, drawn)
        if before is not None:
            loss = before()
        before = figures
    synchronise(device)
    seconds = time.perf_counter() - began
    loss = before()
    loader.close()
    top = peak(torch.cuda.get_device_name()) if device.type == "cuda" else None
    return Row(
        name,
        tokens / seconds,
        images / seconds,
        images / (places / config.packing.tokens),
        1 - tokens / places,
        waited / seconds,
        seconds / steps,
        torch.cuda.max_memory_allocated() if device.type == "cuda" else 0,
        operations / seconds,
        operations / seconds / top if top else None,
        loss,
    )


def ours(config: TrainConfig, read: Language, device: Any) -> tuple[Callable[..., Any], Work]:
    ranks = Ranks(0, 1, device)
    built = build(config, read, ranks)
    names = [source.name for source in config.data.listed]
    step = Step(built, config, ranks, Spikes(config.guard, device), names)

    def run(number: int, drawn: list[Batch]) -> Callable[[], float]:
        figures = step(number, drawn, 1e-5, (False, False, False))
        return lambda: figures.wait()["loss"]

    return run, work(built.model, config.packing.tokens)


def stock(config: TrainConfig, read: Language, device: Any) -> tuple[Callable[..., Any], Work]:
    """transformers' own model in bf16, trained as its documentation would: pixels padded to the most images of a sequence,
    whole logits, a loss outside of the model, as its own fails on every real checkpoint."""
    bare = skeleton(config, read.vocabulary)
    amount = work(bare, config.packing.tokens)
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            model = IdeficsForVisionText2Text(stock_configuration(bare))
    finally:
        torch.set_default_dtype(default)
    freeze(model, config.model)
    model.train()
    optimizer = adamw(model, config.optimizer)

    def run(number: int, drawn: list[Batch]) -> Callable[[], float]:
        total = torch.zeros((), device=device)
        for batch in (padded(batch).to(device) for batch in drawn):
            pixels = bare.normalised(batch.pixels).to(torch.bfloat16)
            logits = model(
                input_ids=batch.input_ids,
                attention_mask=self_attention(batch.document, torch.bfloat16) == 0,
                position_ids=batch.position,
                pixel_values=pixels.unflatten(0, (len(batch.input_ids), batch.places)),
                image_attention_mask=image_attention_mask(batch.image, batch.places),
                use_cache=False,
            ).logits
            cross_entropy, z = means(logit_losses(logits, batch.labels))
            ((cross_entropy + config.loss.z_loss * z) / len(drawn)).backward()
            total += cross_entropy.detach() / len(drawn)
        torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], config.optimizer.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return lambda: float(total)

    return run, amount


def padded(batch: Batch) -> Batch:
    """The batch as B × N pictures, black where a sequence has fewer."""
    sequences, places = len(batch.input_ids), batch.places
    pixels = batch.pixels.new_zeros(sequences * places, *batch.pixels.shape[1:])
    extent = batch.extent.new_zeros(sequences * places, 2)
    at = batch.slots[:, 0] * places + batch.slots[:, 1]
    pixels[at], extent[at] = batch.pixels, batch.extent
    slots = torch.cartesian_prod(torch.arange(sequences), torch.arange(places)).reshape(-1, 2)
    return replace(batch, pixels=pixels, extent=extent, slots=slots)


def synchronise(device: Any) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def rows(arguments: argparse.Namespace) -> Iterator[Row]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    read = None
    for name in [*LEVERS, STOCK]:
        if arguments.only and name not in arguments.only:
            continue
        config = settings(arguments, LEVERS.get(name, []))
        read = read or published(language(config), config)
        make = stock if name == STOCK else ours
        try:
            yield measured(name, config, read, arguments.steps, lambda: make(config, read, device), device)  # noqa: B023
        except torch.OutOfMemoryError as error:
            yield Row(name, failed=str(error).splitlines()[0])
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()


def sample_shards(folder: Path) -> str:
    """The sample crawl's shards, made in a folder."""
    own = [f"output={folder / 'run'}", f"input.paths=['{folder / 'sample'}']", "consent={}"]
    carnac(["sample", str(folder / "sample")])
    carnac(["run", str(ROOT / "configs" / "quickstart.yaml"), *(part for change in own for part in ("--set", change))])
    return str(folder / "run" / "corpus" / "images")


def line(row: Row) -> str:
    if row.failed:
        return f"{row.name:<20} {row.failed}"
    share = "–" if row.utilisation is None else f"{row.utilisation:.1%}"
    return (
        f"{row.name:<20} {share:>7} {row.tokens_per_second:>12,.0f} {row.images_per_second:>10,.1f} "
        f"{row.images_per_sequence:>8.2f} {row.padding:>8.1%} {row.wait:>7.2%} {row.memory / 2**30:>8.1f} {row.loss:>8.3f}"
    )


def main(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", metavar="DIR")
    parser.add_argument(
        "--json", metavar="FILE", help="rows that it holds already stay, so that one can be measured a call"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=[*LEVERS, STOCK])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--micro-batch", type=int, default=8)
    parser.add_argument("--small", action="store_true")
    arguments = parser.parse_args(given)
    if not arguments.small and not torch.cuda.is_available():
        print("no GPU: --small runs a tiny model, whose figures say nothing")
        return 2
    found: dict[str, Any] = {}
    if arguments.json and Path(arguments.json).is_file():
        found = json.loads(Path(arguments.json).read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        arguments.shards = arguments.shards or sample_shards(Path(folder))
        print(
            f"{'':<20} {'MFU':>7} {'tokens/s':>12} {'images/s':>10} {'images':>8} {'padding':>8} {'wait':>7} {'GiB':>8} loss"
        )
        for row in rows(arguments):
            print(line(row), flush=True)
            found[row.name] = asdict(row)
            if arguments.json:
                Path(arguments.json).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    whole = found.get(WHOLE)
    if arguments.small or not whole or whole["utilisation"] is None:
        print("limits are held against a GPU whose peak is known")
        return 0
    held = [
        ("MFU", whole["utilisation"], UTILISATION, whole["utilisation"] >= UTILISATION),
        ("tokens a second", whole["tokens_per_second"], TOKENS, whole["tokens_per_second"] >= TOKENS),
        ("data wait", whole["wait"], WAIT, whole["wait"] < WAIT),
    ]
    for name, value, limit, kept in held:
        print(f"{name:<20} {value:>12,.3f}   limit {limit:>10,}   {'held' if kept else 'NOT HELD'}")
    if STOCK in found and not found[STOCK]["failed"]:
        print(
            f"{'beside stock':<20} {whole['tokens_per_second'] / found[STOCK]['tokens_per_second']:>12.2f} times as fast"
        )
    return 0 if all(kept for *_, kept in held) else 1


if __name__ == "__main__":
    sys.exit(main())
