"""A training configuration in; parameters, memory by part, operations and expected speed out, as text. No weights are made."""

from pipeline.errors import UserError
from pipeline.training.config import Data, TrainConfig
from pipeline.training.flops import PEAKS, peak, work
from pipeline.training.image_forms import special_tokens
from pipeline.training.memory import DEVICES, memory, pictures, size
from pipeline.training.model import parts, skeleton
from pipeline.training.sources import open_sources
from pipeline.training.tokenizer import Vocabulary


def plan(config: TrainConfig) -> str:
    """What training as configured would take on `plan.gpus` of `plan.device`; a table of the model's parts and a few lines.

    Shards that are not there yet are said so, not refused: a plan may come before the data. So it is with a tokenizer:
    `tokenizer.vocab_size` is taken for its size.

    Raises:
        UserError: `plan.device` is in no table.
    """
    name, gpus = config.plan.device, config.plan.gpus
    most, room = peak(name), next((bytes_ for known, bytes_ in DEVICES.items() if known in name), None)
    if most is None or room is None:
        raise UserError(f"plan.device {name}: unknown; known are {', '.join(PEAKS)}")
    model = skeleton(config, _vocabulary(config))
    rows = [(part.name, part.parameters, part.trained) for part in parts(model)]
    rows.append(("total", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    pieces = gpus if config.parallel.shard == "fsdp" else 1
    needed = memory(model, config, pieces)
    if config.parallel.shard == "auto" and gpus > 1 and needed.total > room:
        pieces, needed = gpus, memory(model, config, gpus)
    tokens, images = config.packing.tokens, config.packing.images
    positions = config.batch_size * tokens
    ours, hardware = work(model, tokens, config.parallel.recompute).among(1, pictures(model, config))
    rate = gpus * most * config.plan.mfu / ours * tokens
    fits = "fits" if needed.total <= room else "DOES NOT FIT"
    days = config.steps * positions / rate / 86400
    return "\n".join(
        [
            f"{'part':<22}{'parameters':>16}{'trained':>16}",
            *(f"{part:<22}{count:>16,}{trained:>16,}" for part, count, trained in rows),
            f"memory    {size(needed.total)} on each of {gpus} {name} ({size(room)}), the model "
            f"{'whole' if pieces == 1 else f'in {pieces} pieces'}: {fits}",
            f"          {needed}",
            f"compute   {ours / 1e12:.3g} TFLOP a sequence with {pictures(model, config)} pictures "
            f"({hardware / 1e12:.3g} with what is computed twice)",
            f"expected  {rate:,.0f} tokens/s at {config.plan.mfu:.0%} of {gpus} x {most / 1e12:,.0f} TFLOP/s; {days:,.3g} days",
            f"step      {config.batch_size} sequences x {tokens:,} tokens = {positions:,} tokens, "
            f"up to {config.batch_size * images:,} images",
            f"training  {config.steps:,} steps = {config.steps * positions:,} tokens",
            *(f"data      {path}: {said}" for path, said in _data(config)),
            f"output    {config.output}",
        ]
    )


def _vocabulary(config: TrainConfig) -> Vocabulary:
    """Sizes alone, as no tokenizer may be there yet."""
    size, further = config.tokenizer.vocab_size, special_tokens(config)
    total = size + 2 + len(further)
    return Vocabulary(lambda _: [], size, pad=0, bos=1, eos=2, fake=size, image=size + 1, total=total)


def _data(config: TrainConfig) -> list[tuple[str, str]]:
    """Each source's path and split, and what is in it or why it cannot be read."""
    return [
        (f"{source.path}, {source.split}", _found(config.data.model_copy(update={"path": None, "sources": (source,)})))
        for source in config.data.listed
    ]


def _found(data: Data) -> str:
    try:
        [opened] = open_sources(data)
    except UserError as error:
        return f"not ready: {error}"
    return "? documents" if opened.rows is None else f"{opened.rows:,} documents"
