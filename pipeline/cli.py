"""The command `carnac`: words from the shell in, an exit status out (0 well, 1 something failed, 2 a user's error)."""

import argparse
import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from pipeline import config
from pipeline.errors import UserError
from pipeline.places import place
from pipeline.terminal import console, counted, json_line, printable, say


def main(arguments: Sequence[str] | None = None) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a locale that lacks a letter of the web
    parsed = None
    try:
        try:
            parsed = _parser().parse_args(arguments)
            status: int = parsed.command(parsed)
        finally:
            sys.stdout.flush()  # that its reader has gone is told of here, not while the interpreter ends
    except UserError as error:
        say(f"carnac: {error}", sys.stderr)
        return error.status
    except KeyboardInterrupt:
        goes_on = parsed is not None and parsed.command in (_run, _train)
        kept = "; what was finished is kept, the same command goes on from there" if goes_on else ""
        print(f"carnac: interrupted{kept}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="carnac", description="Web crawls into interleaved image-text corpora, and IDEFICS trained on them."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    sample = commands.add_parser("sample", help="write the sample crawl, the same bytes each time")
    sample.add_argument("folder", metavar="DIR")
    sample.add_argument("--check", metavar="CONFIG", help="instead: compare a run over it with its table of fates")
    sample.set_defaults(command=_sample)

    run = commands.add_parser("run", help="run the flow; goes on where it was left")
    run.add_argument("config", metavar="CONFIG")
    run.add_argument(
        "--retry-images",
        action="store_true",
        help="ask again for images that could not be had for a passing reason: timed out, too many requests, …",
    )
    run.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="this machine's processes, or a Ray cluster (RAY_ADDRESS)",
    )
    run.add_argument(
        "--part",
        metavar="I/N",
        help="instead of all its share of every stage, I from 0 to N - 1; 0 also asks the queries",
    )
    run.add_argument(
        "--wait", metavar="SECONDS", type=float, default=6 * 3600, help="how long to wait for other parts (6 hours)"
    )
    run.set_defaults(command=_run)

    plan = commands.add_parser(
        "plan", help="what a run will take, by a pilot on a sample; after it planned against real"
    )
    plan.add_argument("config", metavar="CONFIG")
    plan.add_argument("--seconds", type=float, metavar="N", help="of one core, about, for the pilot (plan.seconds)")
    plan.add_argument("--json", action="store_true")
    plan.set_defaults(command=_plan)

    status = commands.add_parser("status", help="the funnel: rows in, rows out, drops by reason, seconds, size")
    status.add_argument("config", metavar="CONFIG")
    status.add_argument("--json", action="store_true")
    status.add_argument(
        "--watch", type=float, nargs="?", const=2.0, metavar="SECONDS", help="redrawn while a run goes on (every 2 s)"
    )
    status.add_argument("--slow", action="store_true", help="instead: the pages and hosts that took longest")
    status.set_defaults(command=_status)

    verify = commands.add_parser(
        "verify", help="check a finished run or a corpus: checksums, counts, every row group and image read back"
    )
    verify.add_argument("place", metavar="DIR|CONFIG")
    verify.add_argument("--workers", type=int, metavar="N", help="processes (one a core)")
    verify.set_defaults(command=_verify)

    extract = commands.add_parser(
        "extract", help="WARC, ARC or HTML files into one JSON line a document, before any rule"
    )
    extract.add_argument("paths", nargs="+", metavar="PATH")
    methods = get_args(config.Extract.model_fields["method"].annotation)
    extract.add_argument("--method", choices=methods, default=config.Extract().method)
    extract.add_argument(
        "--url", default="", help="address of an HTML file, which its images' addresses are relative to"
    )
    extract.add_argument(
        "--html",
        action="store_true",
        help="instead: one page that shows what was kept of each page and what was dropped",
    )
    extract.set_defaults(command=_extract)

    explain = commands.add_parser("explain", help="all that happened to a page: rule, value and bound of every drop")
    explain.add_argument("config", metavar="CONFIG")
    explain.add_argument("url", metavar="URL", nargs="?")
    explain.add_argument("--rule", metavar="NAME", help="instead of a page: some of what this rule dropped")
    explain.add_argument("--record", action="store_true", help="instead: its WARC records as they were written")
    explain.add_argument("--sample", metavar="N", type=int, default=20, help="how many drops of the rule (20)")
    explain.set_defaults(command=_explain)

    train = commands.add_parser("train", help="train IDEFICS on finished shards; goes on where it was left")
    train.add_argument("config", metavar="CONFIG")
    train.add_argument("--resume-step", type=int, metavar="N", help="go back to the checkpoint of step N")
    train.add_argument(
        "--score-documents", metavar="OUT", help="instead: each document's loss by the trained model, into a folder"
    )
    train.add_argument(
        "--few-shot", action="store_true", help="instead: ask the trained model the tasks of validation.few_shot"
    )
    train.add_argument("--dry-run", action="store_true", help="print sizes, memory and the plan, and stop")
    train.set_defaults(command=_train)

    generate = commands.add_parser("generate", help="what a trained model writes after an image and a prompt")
    generate.add_argument("model", metavar="MODEL", help="folder of an IDEFICS, Idefics2 or Idefics3")
    generate.add_argument("--image", metavar="FILE", help="stands before the prompt")
    generate.add_argument("--prompt", metavar="TEXT", default="")
    generate.add_argument("--instruct", action="store_true", help="ask as the instruct models were taught")
    generate.add_argument("--tokens", metavar="N", type=int, default=64, help="that are written at most (64)")
    generate.add_argument("--beams", metavar="N", type=int, default=1, help="of the search; 1 is greedy (1)")
    generate.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    generate.set_defaults(command=_generate)

    for command in (run, plan, status, verify, explain, train):
        command.add_argument(
            "--set", action="append", default=[], metavar="a.b=c", help="a value of the configuration for this call"
        )
    return parser


def _run(arguments: argparse.Namespace) -> int:
    from pipeline.card import write_card
    from pipeline.earlier import write_retracted
    from pipeline.export import publish
    from pipeline.flow import flow
    from pipeline.funnel import funnel, losses, print_funnel
    from pipeline.part import Part
    from pipeline.run import Run
    from pipeline.storage import remove_leftovers

    settings = config.load(arguments.config, arguments.set)
    corpus = place(settings.output) / "corpus"
    part = Part.of(arguments.part, arguments.wait) if arguments.part else None
    if part and (arguments.engine != "local" or arguments.retry_images):
        raise UserError("--part: goes neither with --engine ray nor with --retry-images")
    with Run(settings, arguments.config, arguments.engine, part) as run:
        if arguments.retry_images:
            from pipeline.fetched import retry

            print(f"{retry(run.folder):,} image addresses failed for a passing reason and are asked again")
        try:
            shards = flow(run)
        except UserError as error:
            error.status = 1 if run.done else error.status
            raise
        if part and not part.leads:
            print(f"part {part}: done; part 0/{part.count} writes the corpus")
            return 1 if run.failures else 0
        files = publish(shards, corpus, list(settings.export.forms))
        retracted = write_retracted(run.retracted, corpus)
        if part:  # every shard is done, so that what is left was somebody's who died
            remove_leftovers(run.folder)
    summaries = funnel(run.folder)
    write_card(corpus, settings, files, summaries, shards)
    print_funnel(summaries, console())
    if not run.done:
        print("\nNothing to do: every shard of every stage is done as configured.")
    print()
    for form, splits in files.items():
        for split, paths in splits.items():
            print(f"{form + ', ' + split:<20} {counted(len(paths), 'shard')} in {paths[0].parent}")
    if retracted:
        print(f"{'retracted':<20} {retracted}: what falls from the corpora of earlier runs")
    print(f"{'card':<20} {corpus / 'README.md'}" if files else "No document is left: the table says where they went.")
    for line in losses(summaries):
        print(line, file=sys.stderr)
    for receipt in run.failures:
        say(f"failed: {receipt.stage}, shard {receipt.shard}: {receipt.error}", sys.stderr)
    if run.failures:
        print(f"{counted(len(run.failures), 'shard')} failed; the same command tries again", file=sys.stderr)
    return 1 if run.failures else 0


def _plan(arguments: argparse.Namespace) -> int:
    from pipeline.plan import as_json, forecast, kept, print_forecast, real

    seconds = [] if arguments.seconds is None else [f"plan.seconds={arguments.seconds}"]
    settings = config.load(arguments.config, [*arguments.set, *seconds])
    done = real(settings)
    made = (kept(settings) if done else None) or forecast(settings, arguments.config)
    if arguments.json:
        print(json.dumps(as_json(made, done), indent=1))
    else:
        print_forecast(made, done, console())
    return 0


def _status(arguments: argparse.Namespace) -> int:
    from pipeline.funnel import as_json, funnel, losses, print_funnel, receipts
    from pipeline.slow import slow_lines

    settings = config.load(arguments.config, arguments.set)
    folder = place(settings.output)
    if arguments.slow:
        for line in slow_lines(receipts(folder)):
            say(line)
        return 0
    if arguments.watch is not None:
        from pipeline.lease import WHOLE
        from pipeline.output import local_of
        from pipeline.watch import watch

        if arguments.json or not arguments.watch > 0:
            raise UserError("status --watch: takes seconds, more than none, and goes without --json")
        if not watch(folder, local_of(settings, WHOLE), arguments.watch, console()):
            return 0
    summaries = funnel(folder)
    if arguments.json:
        print(json.dumps(as_json(summaries), indent=1))
    else:
        print_funnel(summaries, console())
        for line in losses(summaries):
            print(line, file=sys.stderr)
        for summary in summaries:
            for error in summary.errors:
                say(f"failed: {summary.stage}, {error}", sys.stderr)
    return 1 if any(summary.failed for summary in summaries) else 0


def _verify(arguments: argparse.Namespace) -> int:
    from pipeline.progress import Progress
    from pipeline.verify import as_line, verify

    there = "://" in arguments.place or Path(arguments.place).is_dir()
    settings = None if there else config.load(arguments.place, arguments.set)
    folder = place(arguments.place if settings is None else settings.output)
    workers = arguments.workers or (settings and settings.engine.workers) or os.cpu_count() or 1
    with Progress().counted("verify", "shards and files") as shown:
        verified = verify(folder, settings.images if settings else config.Images(), workers, say, shown)
    print(as_line(verified))
    return 1 if verified.problems else 0


def _explain(arguments: argparse.Namespace) -> int:
    from pipeline.asking import use
    from pipeline.explain import explain, records, sample_of_rule
    from pipeline.minhash import curve

    settings = config.load(arguments.config, arguments.set)
    folder = place(settings.output)
    if (arguments.url is None) == (arguments.rule is None):
        raise UserError("explain: name a page's URL, or --rule NAME")
    if arguments.record:
        if not arguments.url:
            raise UserError("explain --record: name a page's URL")
        use(settings.input.fetch, settings.input.cache, folder / ".hosts")
        for piece in records(folder, arguments.url):
            sys.stdout.buffer.write(piece)
        return 0
    if arguments.rule == "near_duplicate" and settings.duplicates.near_duplicate:
        for line in curve(settings.duplicates.near_duplicate):
            print(line)
    lines = (
        explain(folder, arguments.url) if arguments.url else sample_of_rule(folder, arguments.rule, arguments.sample)
    )
    for line in lines:
        say(line)
    return 0


def _extract(arguments: argparse.Namespace) -> int:
    from pipeline.documents import documents_of
    from pipeline.export import to_published

    settings = config.Extract(method=arguments.method)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # JSON and the page say so, whatever the locale
    if arguments.html:
        from pipeline.html.view import write_view

        write_view(sys.stdout, arguments.paths, settings, arguments.url)
        return 0
    for path in arguments.paths:
        for document in documents_of(path, settings, arguments.url):
            row = to_published(document, None)
            row["metadata"] = json.loads(row["metadata"])
            row["general_metadata"] = json.loads(row["general_metadata"])
            fields = ("texts", "images", "metadata", "general_metadata")
            print(json_line({"url": document.url} | {field: row[field] for field in fields}))
    return 0


def _sample(arguments: argparse.Namespace) -> int:
    if arguments.check:
        from pipeline.sample.check import check

        return 1 if check(Path(arguments.folder), place(config.load(arguments.check).output)) else 0
    from pipeline.sample import write

    print(write(Path(arguments.folder)))
    return 0


def _train(arguments: argparse.Namespace) -> int:
    from pipeline.training import config as training
    from pipeline.training.loop import train
    from pipeline.training.plan import plan

    settings = training.load(arguments.config, arguments.set)
    if arguments.dry_run:
        print(plan(settings))
    elif arguments.score_documents:
        from pipeline.training.score_documents import score_documents

        score_documents(settings, Path(arguments.score_documents))
    elif arguments.few_shot:
        from pipeline.training.fewshot import few_shot

        few_shot(settings)
    else:
        train(settings, resume_step=arguments.resume_step)
    return 0


def _generate(arguments: argparse.Namespace) -> int:
    if not arguments.image and not arguments.prompt:
        raise UserError("generate: name an image, a prompt or both")
    for name in ("tokens", "beams"):
        if getattr(arguments, name) < 1:
            raise UserError(f"generate --{name}: at least 1, found {getattr(arguments, name)}")
    from pipeline.training.generate import Piece, complete, instruction, load, read_image

    image = read_image(Path(arguments.image)) if arguments.image else None
    exported = load(Path(arguments.model), arguments.device)
    pieces: list[Piece] = [image, arguments.prompt] if image else [arguments.prompt]
    if arguments.instruct:
        pieces = instruction(arguments.prompt, image)
    [answer] = complete(exported, [pieces], new_tokens=arguments.tokens, beams=arguments.beams)
    print("\n".join(map(printable, answer.split("\n"))))
    return 0
