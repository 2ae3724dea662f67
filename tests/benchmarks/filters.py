"""The text rules: parity with the published decisions, paragraphs and documents a second of a core."""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from filters.language import Language
from filters.text import Text, joined, together
from pipeline.config import load
from pipeline.judge import first_broken, judge_texts
from pipeline.rules import Rule
from pipeline.rules import load as load_rules
from tests.benchmarks.figure import Figure, Given, fastest, json_rows
from tests.conftest import ROOT

Row = dict[str, Any]
PUBLISHED = {"number_of_words": "words"}  # where the reference names a rule otherwise


class Texts(NamedTuple):
    pages: list[Row]
    paragraphs: list[Row]
    documents: list[str]  # the paragraphs that the published rules keep, of each page that has any

    @classmethod
    def of(cls, material: Path) -> "Texts":
        pages = json_rows(material / "reference" / "obelics-pages.jsonl.gz")
        kept = ([row["text"] for row in page["paragraphs"] if row["dropped_by"] is None] for page in pages)
        return cls(pages, [row for page in pages for row in page["paragraphs"]], ["\n\n".join(k) for k in kept if k])


def rules() -> tuple[list[Rule], list[Rule]]:
    """The text rules of configs/obelics.yaml: of paragraphs, of documents."""
    settings = load(str(ROOT / "configs" / "obelics.yaml"), ["input.paths=[.]"]).text
    of_document = load_rules(settings.document, "document")
    return load_rules(settings.paragraph, "paragraph"), [rule for rule in of_document if rule.takes != "document"]


def parity(texts: Texts) -> Iterator[Figure]:
    """The values and the decision for each paragraph against the published code's; prints who differs where."""
    ours = {rule.name: rule for rule in rules()[0] if rule.name != "common_words"}  # whose published list is not public
    near: Counter[str] = Counter()
    confusion: Counter[tuple[str, str]] = Counter()
    within = {"character_repetition": 1e-3, "word_repetition": 1e-3, "special_characters": 0.02, "punctuation": 0.02}
    for theirs in texts.paragraphs:
        text = Text(theirs["text"])
        verdicts = {PUBLISHED.get(name, name): rule.judge(text) for name, rule in ours.items()}
        near.update(name for name, most in within.items() if abs(float(verdicts[name].value) - theirs[name]) <= most)
        dropped_by = next((name for name, verdict in verdicts.items() if not verdict.keep), None)
        confusion[theirs["dropped_by"] or "kept", dropped_by or "kept"] += 1
    total = len(texts.paragraphs)
    print(f"{'published':<22}{'ours':<22}{'paragraphs':>10}")
    for (published, found), count in confusion.most_common():
        print(f"{published:<22}{found:<22}{count:>10}{'' if published == found else '   differs'}")
    for name, most in within.items():
        share = 100 * near[name] / total
        yield Figure(
            f"paragraphs: {name} within {most:g} of the published", share, "%", least=99 if most < 0.01 else 98
        )
    same = sum(count for (published, found), count in confusion.items() if (published == "kept") == (found == "kept"))
    yield Figure("paragraphs: kept or dropped as published", 100 * same / total, "%", least=98)


def judge_pages(pages: list[list[str]], of_paragraph: list[Rule], of_document: list[Rule] | None = None) -> None:
    """In the run's way: the paragraphs of a page together, each until a rule drops it, then what is left as one text."""
    for page in pages:
        kept = [text for text, broken in judge_texts(of_paragraph, page) if not broken]
        if of_document is not None and kept:
            first_broken(of_document, joined(kept))


def every(pages: list[list[str]], judges: list[Rule]) -> None:
    """Each rule's verdict for each paragraph, whether another drops it or not."""
    for page in pages:
        for batch in together(page):
            for at, paragraph in enumerate(batch.texts):
                text = Text(paragraph, batch, at)
                for rule in judges:
                    rule.judge(text)


def speed_of_rules(texts: Texts) -> Iterator[Figure]:
    """Paragraphs a second; those of a page are measured together, and nothing is kept from one page to the next."""
    of_paragraph, of_document = rules()
    pages = [[row["text"] for row in page["paragraphs"]] for page in texts.pages]
    count = len(texts.paragraphs)
    one, both = (fastest(partial(judge_pages, pages, of_paragraph, then)) for then in (None, of_document))
    yield Figure("rules of paragraphs", count / one, "paragraphs/s", least=60_000)
    yield Figure(
        "every verdict of the rules of paragraphs", count / fastest(lambda: every(pages, of_paragraph)), "paragraphs/s"
    )
    yield Figure("rules of paragraphs and documents", count / both, "paragraphs/s", least=60_000)


def where_the_time_goes(texts: Texts) -> None:
    """Prints what each rule adds to the microseconds of a mean paragraph; the first splits the words."""
    judges, pages = rules()[0], [[row["text"] for row in page["paragraphs"]] for page in texts.pages]
    before = 0.0
    print(f"\n{'rule of paragraphs':<28}{'µs added':>10}")
    for number, rule in enumerate(judges, 1):
        taken = 1e6 * fastest(partial(judge_pages, pages, judges[:number])) / len(texts.paragraphs)
        print(f"{rule.name:<28}{taken - before:>10.1f}")
        before = taken


def speed_of_language(texts: Texts) -> Iterator[Figure]:
    """fastText reads some 14 MB/s: documents a second are a matter of how much of each it is given."""
    sampled, whole = Language(), Language(None)
    short = [row["text"] for row in texts.paragraphs]
    for name, model, asked, least in (
        ("language by a sample of a document", sampled, texts.documents, 15_000),
        ("language by all of a document", whole, texts.documents, None),
        ("language of a paragraph", sampled, short, 15_000),
    ):
        seconds = fastest(partial(identify_all, model, asked))
        mean = sum(map(len, asked)) / len(asked)
        yield Figure(f"{name}, {mean:.0f} characters each", len(asked) / seconds, "texts/s", least=least)
    pairs = [(sampled.identify(Text(text)), whole.identify(Text(text))) for text in texts.documents]
    same = sum(ours[0] == theirs[0] and (ours[1] >= 0.8) == (theirs[1] >= 0.8) for ours, theirs in pairs)
    what = f"label and verdict by the sample as by all of it, {len(pairs)} documents"
    yield Figure(what, 100 * same / len(pairs), "%", least=99)


def identify_all(model: Language, texts: list[str]) -> None:
    for text in texts:
        model.identify(Text(text))


def figures(given: Given) -> Iterator[Figure]:
    texts = Texts.of(given.material)
    if given.quick:
        texts = Texts(texts.pages[:40], texts.paragraphs[:500], texts.documents[:40])
    yield from parity(texts)
    yield from speed_of_rules(texts)
    yield from speed_of_language(texts)
    where_the_time_goes(texts)
