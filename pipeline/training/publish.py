"""A trained model in; its folder for stock transformers out, in place of the one before, and a sample of what it writes."""

import shutil
from pathlib import Path

from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

from pipeline.training.config import TrainConfig
from pipeline.training.export import export
from pipeline.training.language import Language
from pipeline.training.parallel import Ranks
from pipeline.training.sample import Generated, sample
from pipeline.training.setup import Built


def publish(built: Built, language: Language, config: TrainConfig, ranks: Ranks, folder: Path) -> Generated | None:
    """Writes the model aside, then into its place. Of a model that is whole on the first rank, what it goes on to write
    from the first document with an image; None where there is none, or the model is in pieces."""
    state = None
    if built.sharded:
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        state = get_model_state_dict(built.model, options=options)
    if not ranks.first:
        return None
    partial, old = (folder.with_name(f"{folder.name}.{end}") for end in ("partial", "old"))
    for left in (partial, old):
        shutil.rmtree(left, ignore_errors=True)
    export(built.model, language.tokenizer, language.vocabulary, language.form, partial, state=state)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    if built.sharded:
        return None
    return sample(built.model, language, config)
