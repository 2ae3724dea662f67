"""The name of a transformers checkpoint in, a folder or one of the hub; what was loaded of it out, or one clear line.

What is in a checkpoint is data here: code that it brings is never run.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipeline.errors import UserError

SOURCE = "expected a folder that save_pretrained wrote, or owner/name on the hub"


def check(key: str, checkpoint: str, device: str) -> None:
    """Raises UserError where the packages, the device or the checkpoint are not there, or its weights are cut short."""
    missing = [name for name in ("torch", "transformers") if find_spec(name) is None]
    if missing:
        raise UserError(f"{key}: {checkpoint} needs {' and '.join(missing)}: pip install 'carnac[train]'")
    import torch

    if device != "cpu" and not torch.cuda.is_available():
        raise UserError(f"{key}: the device {device} is not there; set cpu")
    folder = Path(checkpoint)
    if not folder.is_dir() and checkpoint.count("/") != 1:
        raise UserError(f"{key}: there is no folder {checkpoint} ({SOURCE})")
    read_config(key, checkpoint)
    if not folder.is_dir():
        return
    weights = sorted([*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin")])
    if not weights:
        raise UserError(f"{key}: {folder} has no weights, neither *.safetensors nor pytorch_model*.bin ({SOURCE})")
    for path in weights:
        if path.suffix == ".safetensors":
            read_header(key, path)


def read_header(key: str, path: Path) -> None:
    """Raises UserError where a safetensors file is not as long as its header says."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="np"):
            pass
    except (OSError, SafetensorError) as error:
        raise UserError(f"{key}: {path} is no whole safetensors file: {error}") from None


def read_config(key: str, checkpoint: str) -> Any:
    from transformers import AutoConfig

    return load(AutoConfig, key, checkpoint)


def load(kind: Any, key: str, checkpoint: str) -> Any:
    """`kind.from_pretrained(checkpoint)`.

    Raises:
        UserError: in one line, whatever transformers says of it.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        return kind.from_pretrained(checkpoint, trust_remote_code=False)
    except Exception as error:  # a missing file, bad JSON, an unknown architecture: each raises another
        said = " ".join(str(error).split())[:200]
        raise UserError(f"{key}: {checkpoint} cannot be loaded: {said} ({SOURCE})") from None
