"""Shards with image bytes in, a trained IDEFICS in the stock transformers format out."""

from importlib.util import find_spec

from pipeline.errors import UserError

_missing = [name for name in ("torch", "transformers", "tokenizers") if find_spec(name) is None]
if _missing:
    raise UserError(f"training needs {', '.join(_missing)}: install the extra, pip install 'carnac[train]'")
