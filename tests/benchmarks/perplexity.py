"""Perplexity: what thresholds on the trigram model's keep of good texts and of bad ones.

Good are the reviewed main texts of real pages that are English; bad are the same texts with their words shuffled, made
SEO spam, the texts of the pages' links, and paragraphs of pages in other languages. Prints the share kept of each at
every candidate, from which the threshold was chosen.
"""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

from selectolax.lexbor import LexborHTMLParser

from filters.language import Language
from filters.perplexity import Trigram
from filters.text import Text
from pipeline.html.decode import decode
from pipeline.warc import Record, read
from tests.benchmarks.figure import Figure, Given, json_rows

CHOSEN = 4000  # in configs/obelics.yaml
CANDIDATES = (1000, 1500, 2000, 2500, 3000, 3500, 4000, 5000, 6000, 8000)
SELLING = "cheap best buy online discount sale free price top deals review 2024 near me shipping coupon official store".split()
GOODS = (
    "shoes watches insurance casino loans viagra handbags laptops mattress crypto hosting flights jackets tyres".split()
)


def good_texts(material: Path) -> list[str]:
    """The main texts that lid.176 takes for English, of ten words or more."""
    identify = Language().identify
    texts = []
    for row in json_rows(material / "pages" / "ground_truth.jsonl.gz"):
        text = row["main_content"] or ""
        label, score = identify(Text(text))
        if len(text.split()) >= 10 and label == "en" and score >= 0.8:
            texts.append(text)
    return texts


def shuffled(text: str, order: random.Random) -> str:
    words = text.split()
    order.shuffle(words)
    return " ".join(words)


def spam(order: random.Random) -> str:
    """A page of key words strung together, as doorway pages have them."""
    goods = order.sample(GOODS, 3)
    phrases = [[*order.sample(SELLING, order.randint(1, 4)), order.choice(goods)] for _ in range(order.randint(20, 80))]
    for phrase in phrases:
        order.shuffle(phrase)
    return ", ".join(" ".join(phrase) for phrase in phrases) + "."


def records(material: Path, pattern: str) -> Iterator[Record]:
    for path in sorted((material / "pages").glob(pattern)):
        yield from (item for item in read(str(path)) if isinstance(item, Record) and item.status == 200)


def texts_of(record: Record, selector: str) -> str:
    """The texts of the elements that `selector` finds, one a line."""
    tree = LexborHTMLParser(decode(record.body, record.content_type))
    lines = (" ".join(node.text().split()) for node in tree.css(selector))
    return "\n".join(line for line in lines if line)


def sets(material: Path) -> dict[str, list[str]]:
    """The kinds of texts; the first is the one to keep."""
    order = random.Random(1)
    good = good_texts(material)
    identify = Language().identify
    menus = [text for record in records(material, "wcxb-*") if len((text := texts_of(record, "a")).split()) >= 10]
    others = [text for record in records(material, "other-*") if len((text := texts_of(record, "p")).split()) >= 10]
    return {
        "good": good,
        "shuffled": [shuffled(text, order) for text in good],
        "spam": [spam(order) for _ in range(500)],
        "menus": menus,
        "other languages": [text for text in others if identify(Text(text))[0] != "en"],
    }


def figures(given: Given) -> Iterator[Figure]:
    score: Callable[[Text], float] = Trigram().score
    scores = {kind: sorted(score(Text(text)) for text in texts) for kind, texts in sets(given.material).items()}
    print(f"{'kept at most':>16}" + "".join(f"{kind:>17}" for kind in scores))
    for candidate in CANDIDATES:
        kept = (sum(value <= candidate for value in values) / len(values) for values in scores.values())
        print(f"{candidate:>16}" + "".join(f"{share:>17.1%}" for share in kept))
    print(f"{'median':>16}" + "".join(f"{values[len(values) // 2]:>17.0f}" for values in scores.values()))
    for kind, values in scores.items():
        share = 100 * sum(value <= CHOSEN for value in values) / len(values)
        yield Figure(f"perplexity of at most {CHOSEN:,}: kept of {len(values)} texts, {kind}", share, "%")
