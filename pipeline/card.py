"""The corpus's files and the funnel in; the dataset card out: a README.md with the front matter the Hub reads."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pipeline.funnel import Summary, reasons
from pipeline.places import remove
from pipeline.storage import aside

if TYPE_CHECKING:
    from pipeline.config import Config
    from pipeline.stages import Stage

# The size categories of the Hub's dataset cards.
_SIZES = [(10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M")]
_SIZES += [(10**8, "10M<n<100M"), (10**9, "100M<n<1B")]

_TEXT = """
# {title}

Interleaved image-text documents made from web crawls by Carnac with the
configuration `{name}`: {documents:,} documents with {images:,} images and {words:,} words.

{counts}

## Fields

`images` and `texts` are parallel lists; at each place exactly one of both is not null. `metadata` is a JSON list parallel
to them (for an image its page, its address as written and resolved, file name, alternative text, stated and original size,
format). `general_metadata` is JSON with the page's `url` and the place of its WARC record. `crawl_date`,
`language`, `language_score` and `perplexity` follow, and `image_scores`, a JSON list parallel to `images` with the hashes of
each image and what models say of it. `missing_images` is a JSON list of the images that could not be had: after which entry
one stood, why it is not there, and its address unless it was refused.{forms}

```python
from datasets import load_dataset

documents = load_dataset("{folder}", "{form}", split="{split}")
```

## How it came to be

| stage | in | out | dropped, by reason |
|---|--:|--:|---|
{funnel}

## Consent

{consent}

## Licence

{licence}

## Configuration

```yaml
{configuration}```
"""


def write_card(
    corpus: Path, config: "Config", files: dict[str, dict[str, list[Path]]], summaries: list[Summary], shards: "Stage"
) -> None:
    """Writes `corpus`/README.md; where there is no file to describe there is none. Holds no clock, so that it is the same
    for the same corpus."""
    if not files:
        remove([corpus / "README.md"])
        return
    splits: dict[str, Counter[str]] = {}
    for receipt in shards.receipts.values():
        for split, count in receipt.notes["splits"].items():
            splits.setdefault(split, Counter()).update(count)
    total = sum(splits.values(), Counter[str]())
    form = next(iter(files))
    text = _TEXT.format(
        title=config.export.title,
        name=config.name,
        counts=_table(splits),
        forms=_forms(list(files)),
        folder=corpus.as_posix() if not corpus.is_absolute() else corpus.name,
        form=form,
        split=next(iter(files[form])),
        funnel="\n".join(map(_line, (summary for summary in summaries if not summary.query))),
        consent=_consent(config, summaries),
        licence=_licence(config.export.licence),
        configuration=yaml.safe_dump(_decisions(config), sort_keys=False, allow_unicode=True),
        **{key: total[key] for key in ("documents", "images", "words")},
    )
    front = yaml.safe_dump(_front_matter(config, files, total["documents"]), sort_keys=False, allow_unicode=True)
    with aside(corpus / "README.md") as temporary:
        temporary.write_text(f"---\n{front}---\n{text}", encoding="utf-8")


def _front_matter(config: "Config", files: dict[str, dict[str, list[Path]]], documents: int) -> dict[str, Any]:
    languages = config.score_rules.document.get("language", {}).get("labels", [])
    configs = [
        {
            "config_name": form,
            **({"default": True} if form == next(iter(files)) else {}),
            "data_files": [{"split": split, "path": f"{form}/{split}-*.parquet"} for split in splits],
        }
        for form, splits in files.items()
    ]
    return {
        "license": config.export.licence,
        "pretty_name": config.export.title,
        **({"language": languages} if languages else {}),
        "task_categories": ["image-to-text", "text-generation"],
        "size_categories": [next((name for limit, name in _SIZES if documents < limit), "1B<n<10B")],
        "tags": ["interleaved", "image-text", "web"],
        "configs": configs,
    }


def _table(splits: dict[str, Counter[str]]) -> str:
    rows = [f"| {split} | {c['documents']:,} | {c['images']:,} | {c['words']:,} |" for split, c in splits.items()]
    return "\n".join(["| split | documents | images | words |", "|---|--:|--:|--:|", *rows])


def _line(summary: Summary) -> str:
    drops = [
        f"{level}s: " + ", ".join(f"{rule} {count:,}" for rule, count in rules) for level, rules in reasons(summary)
    ]
    return f"| {summary.stage} | {summary.rows_in:,} | {summary.rows_out:,} | {'; '.join(drops)} |"


def _consent(config: "Config", summaries: list[Summary]) -> str:
    """What was heeded; for each signal what was refused, and what could not be checked."""
    lists = [f"the list {Path(path).name}" for path in config.consent.lists]
    registry = ["the registry of opt-outs"] if config.consent.spawning else []
    heeded = [*config.consent.signals, *registry, *lists]
    if not heeded:
        return "Nobody was asked: no signal was heeded and no list was read."
    by_itself = [name for name in config.consent.signals if name != "noindex"]  # it counts as the tag that holds it
    signals = [*by_itself, *(["spawning"] if registry else []), *(["opt_out_list"] if lists else [])]
    rows = []
    for signal in signals:
        refused = [
            sum(summary.drops.get(level, Counter())[signal] for summary in summaries) for level in ("document", "image")
        ]
        unchecked = sum(summary.not_checked[signal] for summary in summaries)
        rows.append(f"| {signal} | {refused[0]:,} | {refused[1]:,} | {unchecked:,} |")
    strict = "was taken for a refusal" if config.consent.strict else "was not taken for a refusal"
    return "\n".join(
        [
            f"Refusals that were heeded: {', '.join(heeded)}. The first that refuses is the one that is counted; what could "
            f"not be checked {strict}.",
            "",
            "| signal | pages refused | images refused | addresses not checked |",
            "|---|--:|--:|--:|",
            *rows,
        ]
    )


def _forms(forms: list[str]) -> str:
    known = {"images": "`images` holds the bytes of each image as served", "urls": "`urls` holds addresses alone"}
    return (
        f" The corpus comes as {' and as '.join(f'`{form}`' for form in forms)}: {'; '.join(known[f] for f in forms)}."
    )


def _licence(licence: str) -> str:
    return (
        f"The selection is published under `{licence}`. Texts and images belong to their publishers: this licence covers "
        "none of them, and whoever uses them answers for their own use. Each row names the page it was taken from, so that "
        "a publisher's wish can be followed."
    )


def _decisions(config: "Config") -> dict[str, Any]:
    """The configuration without what says only where and how the run was made; of a file, such as a list of refusals or
    a model, its name alone."""
    decisions: dict[str, Any] = _named(
        config.model_dump(
            mode="json", exclude={"engine", "output", "input", "plan", "metrics", "logs"}, exclude_defaults=True
        )
    )
    return decisions


def _named(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _named(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_named(inner) for inner in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value
