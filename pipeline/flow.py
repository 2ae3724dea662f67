"""The whole pipeline, top to bottom: one line a stage, with what it reads; all else is how."""

from pipeline import export
from pipeline.config import Asking
from pipeline.consent.stage import ask_consent, asked
from pipeline.decontaminate import read_benchmarks, without_benchmark_images, without_benchmark_text
from pipeline.documents import read_documents
from pipeline.duplicates import latest_image_set, near_duplicates
from pipeline.earlier import compare
from pipeline.fetched import fetch_images
from pipeline.final import finish
from pipeline.image_duplicates import near_images
from pipeline.images import get_images
from pipeline.judge import judge, judge_images
from pipeline.keys import make_keys
from pipeline.losses import add_losses, read_losses
from pipeline.run import Run
from pipeline.scores import score_texts
from pipeline.stages import Stage
from pipeline.verdicts import apply_verdicts


def flow(run: Run) -> Stage:
    """Runs all stages of `run.config`; returns the last, whose files are the corpus."""
    c = run.config
    warcs = run.warcs()

    # Pages become documents of text and image nodes; the crawl's own images are written down by address.
    pages = run.each("documents", read_documents, c.extract, warc=warcs)

    # Every rule that needs no pixels comes before anything is compared, asked or fetched. Models give scores, which
    # are columns; rules hold thresholds against them, so that a changed threshold asks no model again.
    plain = run.each("text", judge, c.text, documents=pages)
    scored = run.each("scores", score_texts, c.scores.asked, documents=plain)
    if known := c.scores.training_loss:
        scored = run.each("training_loss", add_losses, known, documents=scored, losses=read_losses(run, known))
    good = run.each("score_rules", judge, c.score_rules, documents=scored)

    # Decisions over the whole corpus are queries on small keys; they answer with verdicts, a partition a shard. The keys
    # of earlier runs, where there are any, stand beside those of this one.
    keys = run.earlier.stage("keys").beside(run.each("keys", make_keys, c.duplicates.unseen, documents=good))
    nobody = run.sql("nobody", pages=keys.table("pages"))
    older = twins = nobody
    if c.duplicates.latest_url:
        older = run.sql("latest_url", query="latest", keyed=keys.table("pages"), gone=nobody.table())
    if near := c.duplicates.near_duplicate:
        twins = near_duplicates(run, keys, older.table(), near)
    gone = run.sql("gone", older=older.table(), twins=twins.table())
    everywhere = repeated = None
    if limit := c.duplicates.image_everywhere:
        everywhere = run.sql("image_everywhere", images=keys.table("images"), max=limit.max)
    if limit := c.duplicates.paragraph_repeated:
        paragraphs = keys.table("paragraphs")
        repeated = run.sql("paragraph_repeated", paragraphs=paragraphs, gone=gone.table(), max=limit.max)
    verdicts = {
        "latest_url": older,
        "near_duplicate": twins,
        "image_everywhere": everywhere,
        "paragraph_repeated": repeated,
    }
    if run.earlier:  # what of theirs falls now is told; what fell for a document that has fallen since is taken up here
        then = {"earlier": run.earlier.stage("score_rules"), "judges": run.earlier.judges()}
        run.retracted.append(run.each("earlier/changes", compare, c.duplicates.unseen, **then, **verdicts))
        good = good.beside(run.retracted[-1])
    unique = run.each("unique", apply_verdicts, c.duplicates.unseen, documents=good, **verdicts)

    # What evaluation sets hold is not trained on. Texts are compared now, images once they were seen.
    benchmarks = read_benchmarks(run, c.decontaminate) if c.decontaminate else None
    if benchmarks and any(benchmark.text for benchmark in c.decontaminate):
        unique = without_benchmark_text(run, benchmarks, c.decontaminate, unique)

    # Whoever said no to training is taken at their word before any image of theirs is touched.
    allowed = run.each("consent", ask_consent, c.consent, documents=unique, **asked(run, unique))

    # Images of what is left, and of nothing else: from the nearest record of the crawl, from a mirror or the web. Each
    # address is asked for once in a run, and all addresses of a host by the same process.
    wanted = allowed.table("wanted")
    run.sql("saving", by=None, named=pages.table("named"), wanted=wanted)
    held = run.earlier.stage("documents").beside(pages).table("records")
    records = run.sql("nearest_record", wanted=wanted, records=held)
    answers = None
    if asking := Asking.of(c.images, c.consent):
        addresses = run.sql("addresses", wanted=wanted, records=records.table(), parts=asking.processes)
        fetched = run.each("fetched", fetch_images, asking, addresses=addresses.parts(asking.processes))
        answers = run.sql("answers", wanted=wanted, answers=fetched.by_content("answers").table("answers"))

    # They are seen and scored once, then judged.
    seen = run.each("images", get_images, (c.images, c.consent), documents=allowed, records=records, answers=answers)
    fit = run.each("image_rules", judge_images, c.image_rules, documents=seen)
    if benchmarks and any(benchmark.image for benchmark in c.decontaminate):
        fit = without_benchmark_images(run, benchmarks, c.decontaminate, fit)
    if c.duplicates.near_image:
        fit = near_images(run, fit, c.duplicates)
    same_images = latest_image_set(run, fit, gone.table(), nobody.table()) if c.duplicates.latest_image_set else None
    if run.earlier:
        then = {"earlier": run.earlier.stage("image_rules"), "judges": run.earlier.judges()}
        run.retracted.append(run.each("earlier/sets", compare, c.duplicates, **then, latest_image_set=same_images))
    whole = run.each("final", finish, c.final, documents=fit, latest_image_set=same_images)

    # Documents and pixels of neighbouring shards are put together until a file has its size.
    groups = export.groups(whole, seen, c.export.shard_size)
    return run.each(
        "export", export.write_shards, c.export, documents=whole.grouped(groups), pixels=seen.grouped(groups)
    )
