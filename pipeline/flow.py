"""The whole pipeline, top to bottom: one line a stage, with what it reads; all else is how."""

from pipeline import export
from pipeline.config import Asking
from pipeline.consent import ask_consent
from pipeline.documents import read_documents
from pipeline.duplicates import near_duplicates
from pipeline.fetched import fetch_images
from pipeline.final import finish
from pipeline.images import get_images
from pipeline.judge import judge, judge_images
from pipeline.keys import make_keys
from pipeline.run import Run, Stage
from pipeline.scores import score_texts
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
    scored = run.each("scores", score_texts, c.scores, documents=plain)
    good = run.each("score_rules", judge, c.score_rules, documents=scored)

    # Decisions over the whole corpus are queries on small keys; they answer with verdicts, a partition a shard.
    keys = run.each("keys", make_keys, c.duplicates, documents=good)
    page_keys, image_keys, paragraph_keys = keys.table("pages"), keys.table("images"), keys.table("paragraphs")
    nobody = run.sql("nobody", pages=page_keys)
    older = run.sql("latest_url", pages=page_keys) if c.duplicates.latest_url else nobody
    twins = (
        near_duplicates(run, keys.table("bands"), page_keys, older.table()) if c.duplicates.near_duplicate else nobody
    )
    gone = run.sql("gone", older=older.table(), twins=twins.table())
    everywhere = repeated = None
    if limit := c.duplicates.image_everywhere:
        everywhere = run.sql("image_everywhere", images=image_keys, max=limit.max)
    if limit := c.duplicates.paragraph_repeated:
        repeated = run.sql("paragraph_repeated", paragraphs=paragraph_keys, gone=gone.table(), max=limit.max)
    unique = run.each(
        "unique", apply_verdicts, c.duplicates, documents=good,
        latest_url=older, near_duplicate=twins, image_everywhere=everywhere, paragraph_repeated=repeated,
    )  # fmt: skip

    # Whoever said no to training is taken at their word before any image of theirs is touched.
    allowed = run.each("consent", ask_consent, c.consent, documents=unique)

    # Images of what is left, and of nothing else: from the nearest record of the crawl, from a mirror or the web. Each
    # address is asked for once in a run, and all addresses of a host by the same process.
    wanted = allowed.table("wanted")
    run.sql("saving", by=None, named=pages.table("named"), wanted=wanted)
    records = run.sql("nearest_record", wanted=wanted, records=pages.table("records"))
    answers = None
    if asking := Asking.of(c.images, c.consent):
        addresses = run.sql("addresses", wanted=wanted, records=records.table(), parts=asking.processes)
        fetched = run.each("fetched", fetch_images, asking, addresses=run.parts(addresses, asking.processes))
        answers = run.sql("answers", wanted=wanted, answers=fetched.by_content("answers").table("answers"))

    # They are seen and scored once, then judged.
    seen = run.each("images", get_images, (c.images, c.consent), documents=allowed, records=records, answers=answers)
    fit = run.each("image_rules", judge_images, c.image_rules, documents=seen)
    same_images = run.sql("latest_image_set", sets=fit.table("sets")) if c.duplicates.latest_image_set else None
    whole = run.each("final", finish, c.final, documents=fit, latest_image_set=same_images)

    # Documents and pixels of neighbouring shards are put together until a file has its size.
    groups = export.groups(whole, seen, c.export.shard_size)
    return run.each(
        "export", export.write_shards, c.export, documents=whole.grouped(groups), pixels=seen.grouped(groups)
    )
