"""The folder of real pages with their ground truth in; the model of `pipeline.html.main` out.

`python -m pipeline.html.train_main MATERIAL MODEL` learns from all pages and writes the file MODEL; with a folder in its place,
it cross-validates over sites and leaves one model a fold there. Needs scipy and torch.
"""

import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import scipy.optimize
import scipy.sparse
import torch
from numpy.typing import NDArray
from torch import nn

from filters.ngrams import Hashes
from pipeline.html.choose import chosen
from pipeline.html.features import Table, elements, table
from pipeline.html.ground_truth import FOLDS, Array, Example, examples, f1, site
from pipeline.html.lexicon import Lexicon, attribute_words, lexicon, text_words
from pipeline.html.network import CLIP, DILATIONS, WIDTH, Network, load, probabilities, save
from pipeline.html.tags import UNKNOWN, Ints

HOSTS = 6  # a word is learned where so many hosts use it
HIDDEN = 64
EPOCHS = 10
BATCH = 12  # pages
SEED = 1


@dataclass(slots=True)
class Words:
    """The words around, of and in every block as a sparse matrix (blocks, 3 V), for the `hashes` (V,) that many sites use."""

    hashes: NDArray[np.uint64]
    matrix: scipy.sparse.csr_matrix
    page: NDArray[np.int64]  # (blocks,)
    learned: dict[bytes, Lexicon] = field(default_factory=dict)  # by the pages learned from: folds share them


def _counted(hashes: Hashes, row: Ints, word: Hashes, height: int) -> scipy.sparse.csr_matrix:
    """(height, V) how often each of the `hashes` is the `word` of a `row`."""
    place = np.minimum(np.searchsorted(hashes, word), len(hashes) - 1)
    known = hashes[place] == word
    return scipy.sparse.csr_matrix(
        (np.ones(int(known.sum()), np.float32), (row[known], place[known])), (height, len(hashes))
    )


def words_of(pages: list[Example]) -> Words:
    found = [(*attribute_words(p.blocks), *text_words(p.blocks)) for p in pages]
    sites = {name: number for number, name in enumerate(dict.fromkeys(site(p.url) for p in pages))}
    pairs = []
    for example, (_, words, _, spoken) in zip(pages, found, strict=True):
        said = np.unique(np.concatenate([words, spoken]))
        pairs.append(np.stack([said, np.full(len(said), sites[site(example.url)], np.uint64)]))
    every, hosts = np.unique(np.unique(np.concatenate(pairs, axis=1), axis=1)[0], return_counts=True)
    hashes = every[hosts >= HOSTS]
    matrices = []
    for example, (tags, words, owner, spoken) in zip(pages, found, strict=True):
        b = example.blocks
        count, total = len(b.starts), len(b.first)
        of_tags = _counted(hashes, tags, words, count)
        rows, columns = [], []
        element, block = b.element.copy(), np.arange(total)
        while len(element):
            inside = element >= 0
            element, block = element[inside], block[inside]
            rows.append(block)
            columns.append(element)
            element = b.parent[element]
        closure = scipy.sparse.csr_matrix(
            (np.ones(sum(map(len, rows)), np.float32), (np.concatenate(rows), np.concatenate(columns))), (total, count)
        )
        inline = np.where(b.closing[b.text_tag], b.parent[b.text_tag], b.text_tag)
        matrices.append(
            scipy.sparse.hstack([closure @ of_tags, of_tags[inline], _counted(hashes, owner, spoken, total)], "csr")
        )
    page = np.repeat(np.arange(len(pages)), [len(p.words) for p in pages])
    return Words(hashes, scipy.sparse.vstack(matrices, "csr"), page)


def learn_words(words: Words, pages: list[Example], chosen_pages: NDArray[np.bool_], penalty: float = 3.0) -> Lexicon:
    """Logistic regression of the blocks' targets on their words."""
    if (key := chosen_pages.tobytes()) in words.learned:
        return words.learned[key]
    rows = np.flatnonzero(chosen_pages[words.page])
    target = np.concatenate([p.target for p in pages])[rows]
    size = np.sqrt(np.concatenate([p.words for p in pages]))[rows]
    of = words.page[rows]
    weight = 20 * size / np.bincount(of, size)[of]
    matrix = words.matrix[rows]
    back = matrix.T.tocsr()
    count = matrix.shape[1]

    def loss(point: Array) -> tuple[float, Array]:
        score = matrix @ point[:count].astype(np.float32) + point[count]
        error = weight * (1 / (1 + np.exp(-score)) - target)
        value = float(
            (weight * (np.logaddexp(0, score) - target * score)).sum() + penalty / 2 * (point[:count] ** 2).sum()
        )
        return value, np.append(back @ error.astype(np.float32) + penalty * point[:count], error.sum())

    found = scipy.optimize.minimize(loss, np.zeros(count + 1), jac=True, method="L-BFGS-B", options={"maxiter": 40}).x
    words.learned[key] = lexicon(words.hashes, found[:count].reshape(3, -1).T.astype(np.float32))
    return words.learned[key]


class Learner(nn.Module):  # type: ignore[misc]
    """`network.Network` as it learns: pages are padded to one length, `real` marks their blocks."""

    def __init__(self, features: int, page: int) -> None:
        super().__init__()
        self.rows = nn.Linear(features, HIDDEN)
        self.page = nn.Linear(page, HIDDEN, bias=False)
        self.forms = nn.ModuleList([nn.Embedding(UNKNOWN + 2, HIDDEN) for _ in range(3)])
        for embedding in self.forms:
            nn.init.normal_(embedding.weight, std=0.02)
        self.pool = nn.Linear(2 * HIDDEN, HIDDEN)
        self.near = nn.ModuleList([nn.Linear(WIDTH * HIDDEN, HIDDEN) for _ in DILATIONS])
        self.last = nn.Linear(HIDDEN, HIDDEN)
        self.out = nn.Linear(HIDDEN, 1)
        self.drop = nn.Dropout(0.15)

    def forward(self, rows: torch.Tensor, page: torch.Tensor, forms: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        real = real[..., None]
        hidden = self.rows(rows) + self.page(page)[:, None]
        for level, embedding in enumerate(self.forms):
            hidden = hidden + embedding(forms[:, level])
        hidden = torch.relu(hidden) * real
        pooled = torch.cat([hidden.sum(1) / real.sum(1), hidden.amax(1)], -1)
        hidden = self.drop(hidden + torch.relu(self.pool(pooled))[:, None]) * real
        for near, dilation in zip(self.near, DILATIONS, strict=True):
            reach = dilation * (WIDTH // 2)
            padded = nn.functional.pad(hidden, (0, 0, reach, reach))
            count = hidden.shape[1]
            seen = torch.cat([padded[:, step * dilation : step * dilation + count] for step in range(WIDTH)], -1)
            hidden = (hidden + self.drop(torch.relu(near(seen)))) * real
        hidden = hidden + self.drop(torch.relu(self.last(hidden)))
        score: torch.Tensor = self.out(hidden)[..., 0]
        return score


def _padded(values: list[Array], length: int) -> torch.Tensor:
    result = np.zeros((len(values), length), np.float32)
    for row, value in zip(result, values, strict=True):
        row[: len(value)] = value
    return torch.from_numpy(result)


def learn_network(pages: list[Example], tables: list[Table], seed: int = SEED, epochs: int = EPOCHS) -> Network:
    """Minimises the cross entropy of the blocks, weighted by the share of their words in the page's, and one minus the
    expected F1 of the pages."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    every = np.concatenate([t.rows for t in tables])
    mean, scale = every.mean(0), 1 / (every.std(0) + 1e-2)
    of_pages = np.stack([t.page for t in tables])
    page_mean, page_scale = of_pages.mean(0), 1 / (of_pages.std(0) + 1e-2)
    rows = [np.clip((t.rows - mean) * scale, -CLIP, CLIP).astype(np.float32) for t in tables]
    of_pages = np.clip((of_pages - page_mean) * page_scale, -CLIP, CLIP).astype(np.float32)
    gold = np.array([len(p.truth) for p in pages], np.float32)
    weights = [p.words / max(len(p.truth), 50, p.words.sum() / 4) for p in pages]
    typical = float(np.concatenate(weights).mean())
    targets, sizes = [p.target for p in pages], [p.words for p in pages]
    learner = Learner(every.shape[1], of_pages.shape[1])
    batches_an_epoch = -(-len(pages) // (8 * BATCH)) * 8
    steps = epochs * batches_an_epoch + 1
    optimiser = torch.optim.AdamW(learner.parameters(), lr=2e-3, weight_decay=0.03)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    lengths = np.array([len(p.words) for p in pages])
    for _ in range(epochs):
        order = random.permutation(len(pages))
        batches = []
        for begin in range(0, len(order), 8 * BATCH):  # pages of about one length stand together, for less padding
            some = order[begin : begin + 8 * BATCH]
            some = some[np.argsort(lengths[some], kind="stable")]
            batches += [some[at : at + BATCH] for at in range(0, len(some), BATCH)]
        for batch in batches:
            longest = int(lengths[batch].max())

            inputs = np.zeros((len(batch), longest, every.shape[1]), np.float32)
            forms = np.zeros((len(batch), 3, longest), np.int64)
            real = np.zeros((len(batch), longest), np.float32)
            for at, page in enumerate(batch):
                inputs[at, : lengths[page]] = rows[page]
                forms[at, :, : lengths[page]] = tables[page].forms
                real[at, : lengths[page]] = 1
            mask = torch.from_numpy(real)
            target, words, weight = (_padded([of[page] for page in batch], longest) for of in (targets, sizes, weights))
            score = learner(torch.from_numpy(inputs), torch.from_numpy(of_pages[batch]), torch.from_numpy(forms), mask)
            chance = torch.sigmoid(score) * mask
            entropy = nn.functional.binary_cross_entropy_with_logits(score, target, reduction="none")
            weight = torch.clamp(weight / typical, max=50) * mask
            sizes_of_both = (chance * words).sum(1) + torch.from_numpy(gold[batch]) + 1
            overlap = (2 * (chance * target * words).sum(1) / sizes_of_both).mean()
            loss = (entropy * weight).sum() / mask.sum() + 1 - overlap
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
            optimiser.step()
            if schedule.last_epoch < steps - 1:
                schedule.step()

    def array(tensor: torch.Tensor) -> NDArray[np.float32]:
        values: NDArray[np.float32] = tensor.detach().numpy().astype(np.float32)
        return values

    near = [module.weight for module in learner.near]
    return Network(
        mean,
        scale,
        page_mean,
        page_scale,
        array(learner.rows.weight.T),
        array(learner.page.weight.T),
        np.stack([array(embedding.weight) for embedding in learner.forms]),
        array(learner.rows.bias),
        array(learner.pool.weight.T),
        array(learner.pool.bias),
        np.stack([array(weight.T).reshape(WIDTH, HIDDEN, HIDDEN) for weight in near]),
        np.stack([array(module.bias) for module in learner.near]),
        array(learner.last.weight.T),
        array(learner.last.bias),
        array(learner.out.weight[0]),
        array(learner.out.bias),
    )


def tables(pages: list[Example], learned: Lexicon) -> list[Table]:
    return [table(p.blocks, elements(p.blocks, learned), learned, p.url) for p in pages]


def unseen(words: Words, pages: list[Example], within: NDArray[np.bool_]) -> dict[int, Table]:
    """The table of every page `within`, by the words of those of them in the other folds: as the network will see words of
    a page that nothing was learned from."""
    fold = np.array([p.fold for p in pages])
    found: dict[int, Table] = {}
    for held in sorted({int(f) for f in fold[within]}):
        learned = learn_words(words, pages, within & (fold != held))
        some = np.flatnonzero(within & (fold == held))
        found.update(zip(some.tolist(), tables([pages[i] for i in some], learned), strict=True))
    return found


def report(results: dict[str, list[float]]) -> str:
    return "  ".join(f"{kind} {np.mean(values):.4f}" for kind, values in sorted(results.items()))


def learn(words: Words, pages: list[Example], within: NDArray[np.bool_], model: Path) -> tuple[Network, Lexicon]:
    """The network and the words learned from the pages `within`, which `model` then holds."""
    known = unseen(words, pages, within)
    network = learn_network([pages[i] for i in known], list(known.values()))
    learned = learn_words(words, pages, within)
    save(model, network, words.hashes, learned.weights[np.searchsorted(learned.hashes, words.hashes)])
    return load(model)


def cross_validate(words: Words, pages: list[Example], folder: Path) -> None:
    """Prints the F1 of pages by models that have not seen their sites, which `folder` then holds: "main-0.npz" was learned
    from all pages but those of fold 0."""
    fold = np.array([p.fold for p in pages])
    best: dict[str, list[float]] = defaultdict(list)
    results: dict[str, list[float]] = defaultdict(list)
    for held in range(FOLDS):
        network, learned = learn(words, pages, fold != held, folder / f"main-{held}.npz")
        tested = [p for p in pages if p.fold == held]
        for example, features in zip(tested, tables(tested, learned), strict=True):
            kept = chosen(probabilities(network, features), example.blocks)
            for kind in (example.kind, "all"):
                results[kind].append(f1(example, kept))
                best[kind].append(f1(example, example.share > 0.5))
        print(f"fold {held}: {report(results)}", flush=True)
    print(f"the blocks that hold most of the ground truth: {report(best)}")


def main() -> None:
    material, target = Path(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(2)
    pages = examples(material)
    words = words_of(pages)
    print(f"{len(pages)} pages, {len(words.page)} blocks, {len(words.hashes)} words", flush=True)
    if target.is_dir():
        cross_validate(words, pages, target)
    else:
        learn(words, pages, np.ones(len(pages), bool), target)
        print(f"{target}: {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
