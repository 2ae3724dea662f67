"""A training configuration in; parameters, memory and tokens a step out, as text. No weights are made."""

from pipeline.errors import UserError
from pipeline.training.config import TrainConfig
from pipeline.training.model import parts, skeleton
from pipeline.training.sources import open_sources
from pipeline.training.tokenizer import Vocabulary

FP32 = 4  # bytes


def plan(config: TrainConfig) -> str:
    """What training as configured would take; a table of the model's parts and a few lines.

    Shards that are not there yet are said so, not refused: a plan may come before the data.
    """
    try:
        found = [f"{'?' if s.rows is None else format(s.rows, ',')} documents" for s in open_sources(config.data)]
    except UserError as error:
        found = [f"not ready: {error}"] * len(config.data.listed)
    vocab_size = config.tokenizer.vocab_size
    ids = {"pad": 0, "bos": 1, "eos": 2, "fake": vocab_size, "image": vocab_size + 1}
    model = skeleton(config, Vocabulary(lambda _: [], vocab_size, **ids))
    rows = [(part.name, part.parameters, part.trained) for part in parts(model)]
    rows.append(("total", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    tokens, images = config.packing.tokens, config.packing.images
    positions = config.batch_size * tokens
    logits = positions * (vocab_size + 2) * FP32
    return "\n".join(
        [
            f"{'part':<22}{'parameters':>16}{'trained':>16}{'memory':>12}",
            *(f"{n:<22}{count:>16,}{trained:>16,}{_size(memory(count, trained)):>12}" for n, count, trained in rows),
            "memory    fp32 weights and, where trained, their gradient and AdamW's two moments; on top of it",
            f"          activations, of which the logits take {_size(logits)} and their gradient as much",
            f"step      {config.batch_size} sequences x {tokens:,} tokens = {positions:,} tokens, "
            f"up to {config.batch_size * images:,} images",
            f"training  {config.steps:,} steps = {config.steps * positions:,} tokens",
            *(f"data      {s.path}, {s.split}: {said}" for s, said in zip(config.data.listed, found, strict=True)),
            f"output    {config.output}",
        ]
    )


def memory(parameters: int, trained: int) -> int:
    """Bytes of fp32 weights, and of gradient and two moments for those that are trained."""
    return FP32 * (parameters + 3 * trained)


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"
