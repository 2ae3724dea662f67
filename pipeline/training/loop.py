"""A training configuration in; the folder of a trained model out, with a line of figures for each step."""

import json
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import torch
from safetensors import SafetensorError

from pipeline.errors import UserError
from pipeline.training import tokenizer
from pipeline.training.batch import Batch
from pipeline.training.config import TrainConfig
from pipeline.training.export import export
from pipeline.training.image_forms import image_form, special_tokens
from pipeline.training.loader import Loader
from pipeline.training.loss import means
from pipeline.training.model import build, parts, token_losses
from pipeline.training.optimizer import adamw, learning_rate
from pipeline.training.plan import plan
from pipeline.training.sample import sample
from pipeline.training.sources import Opened, open_sources, texts

__all__ = ["plan", "step", "train"]

LOG = "train.jsonl"
SETTINGS = "train.json"  # the configuration; a folder that holds it is one of ours and may be replaced


def _show(line: str) -> None:
    print(line, flush=True)  # a log that is a file or a pipe shall grow line by line, too


def train(config: TrainConfig, report: Callable[[str], None] = _show) -> Path:
    """Trains as configured and returns the model's folder; a line for each step goes to `report` and to `train.jsonl`.

    All is written to `OUTPUT.partial`, which takes the place of `OUTPUT` once it is complete; after an error it stays,
    with its log, until the next training.

    Raises:
        UserError: shards that are missing or of another schema; an output folder that cannot be written or that holds
            something else; a loss that is no longer a number.
    """
    sources = open_sources(config.data)
    output = Path(config.output)
    _check_ours(output)
    partial, old = (output.resolve().with_name(f"{output.resolve().name}.{end}") for end in ("partial", "old"))
    for folder in (partial, old):
        _check_ours(folder)
    if config.threads:
        torch.set_num_threads(config.threads)
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        (partial / SETTINGS).write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
        with (partial / LOG).open("w", encoding="utf-8", buffering=1) as log:
            _train(config, sources, partial, log, report)
        if output.exists():
            shutil.rmtree(old, ignore_errors=True)
            output.rename(old)
        partial.rename(output)
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{output}: cannot be written: {getattr(error, 'strerror', None) or error}") from None
    return output


def step(model: Any, optimizer: Any, batch: Batch, config: TrainConfig, rate: float) -> dict[str, float]:
    """One step of the optimizer at the learning rate `rate`; returns loss, z-loss and the gradient's norm.

    Raises:
        UserError: one of them is not finite; the weights are then as they were.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate
    cross_entropy, z = means(token_losses(model, batch, config.loss))
    (cross_entropy + config.loss.z_loss * z).backward()
    norm = torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], config.optimizer.clip)
    figures = {"loss": cross_entropy.item(), "z_loss": z.item(), "gradient_norm": norm.item()}
    if not all(math.isfinite(value) for value in figures.values()):
        found = ", ".join(f"{name} {value}" for name, value in figures.items())
        documents = sorted({key for keys in batch.keys for key in keys})
        named = ", ".join(documents[:5]) + (" …" if len(documents) > 5 else "")
        raise UserError(
            f"optimizer.learning_rate {config.optimizer.learning_rate}: {found} at rate {rate:.3g}; "
            f"a lower one may help (documents of the batch: {named})"
        )
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return figures


def _train(
    config: TrainConfig, sources: list[Opened], folder: Path, log: TextIO, report: Callable[[str], None]
) -> None:
    def write(event: str, **values: Any) -> None:
        log.write(json.dumps({"event": event, **values}, ensure_ascii=False) + "\n")

    further = special_tokens(config)
    if config.tokenizer.path:
        words = tokenizer.open_tokenizer(config.tokenizer.path, further)
    else:
        seen = texts(sources, config.tokenizer.documents)
        words = tokenizer.learn(seen, config.tokenizer.vocab_size, config.model.max_position_embeddings, further)
    vocabulary = tokenizer.vocabulary(words, further, last=config.images.form == "idefics")
    form = image_form(config, vocabulary)
    model = build(config, vocabulary)
    optimizer = adamw(model, config.optimizer)
    sizes = parts(model)
    total, trained = sum(part.parameters for part in sizes), sum(part.trained for part in sizes)
    documents = sum(source.rows or 0 for source in sources)
    write(
        "start",
        documents=documents,
        vocab_size=vocabulary.size,
        parameters=total,
        trained=trained,
        parts={part.name: {"parameters": part.parameters, "trained": part.trained} for part in sizes},
    )
    report(f"{documents:,} documents, {vocabulary.size:,} tokens in the vocabulary")
    report(f"{total:,} parameters, of which {trained:,} are trained")

    loader = Loader(config, vocabulary, form, report=report)
    stream = iter(loader)
    for number in range(config.steps):
        began = time.perf_counter()
        batch = next(stream)
        waited = time.perf_counter() - began
        rate = learning_rate(number, config.steps, config.optimizer)
        figures = step(model, optimizer, batch, config, rate)
        seconds = time.perf_counter() - began
        tokens, places = batch.tokens, batch.input_ids.numel()
        figures |= {
            "learning_rate": rate,
            "tokens": tokens,
            "images": batch.images,
            "padding": round(1 - tokens / places, 4),
            "seconds": round(seconds, 4),
            "data_seconds": round(waited, 4),
            "tokens_per_second": round(tokens / seconds, 1),
            "images_per_second": round(batch.images / seconds, 2),
        }
        write("step", step=number + 1, epoch=batch.epoch, **figures)
        report(_line(number + 1, config.steps, figures))
    loader.close()
    counts = loader.counts().values()
    broken = sum(count["broken_images"] for count in counts)
    if broken:
        report(f"{broken:,} images could not be decoded and were left out")

    export(model, words, vocabulary, folder)
    generated = sample(model, words, vocabulary, form, sources, config)
    if generated is not None:
        write("sample", **asdict(generated))
        report(f"sample: {_printable(generated.prompt)} -> {_printable(generated.text)}")
    write("end", documents_read=sum(count["documents"] for count in counts), broken_images=broken)


def _line(number: int, steps: int, figures: dict[str, float]) -> str:
    return (
        f"step {number:>{len(str(steps))}}/{steps}  loss {figures['loss']:.4f}  z {figures['z_loss']:.2f}  "
        f"gradient {figures['gradient_norm']:.3f}  rate {figures['learning_rate']:.2e}  "
        f"{figures['tokens_per_second']:,.0f} tokens/s  {figures['images_per_second']:,.1f} images/s  "
        f"padding {figures['padding']:.1%}"
    )


def _printable(text: str) -> str:
    """Text of a web page on one line, without the control characters that a terminal would obey."""
    return "".join(character if character.isprintable() else " " for character in text)


def _check_ours(folder: Path) -> None:
    if folder.exists() and not (folder / SETTINGS).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: holds something that is no training output; choose another `output` or remove it")
