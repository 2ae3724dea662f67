"""A training configuration in; a folder with the log, the checkpoints and the trained model out.

OUTPUT/train.json            the settings; a folder that holds it is one of ours
       train.jsonl           a line an event, most of them steps; one unbroken curve, however often it was resumed
       checkpoints/          see checkpoint.py
       suspects.jsonl        steps that stood out, with their documents
       model/                for stock transformers, once all steps are made
       stop, save            made by a user: files that ask for just that
"""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from pipeline.errors import UserError
from pipeline.storage import write_json
from pipeline.terminal import printable
from pipeline.training import checkpoint
from pipeline.training.batch import Batch
from pipeline.training.checkpoint import Mark, Store
from pipeline.training.config import TrainConfig
from pipeline.training.fewshot import few_shot
from pipeline.training.guard import Requests, Spikes, Suspects, Watchdog
from pipeline.training.language import language
from pipeline.training.loader import Loader, check_lanes
from pipeline.training.mixture import together
from pipeline.training.model import parts
from pipeline.training.optimizer import learning_rate
from pipeline.training.parallel import Ranks, ranks
from pipeline.training.publish import publish
from pipeline.training.resume import MODEL, SETTINGS, settled
from pipeline.training.setup import build
from pipeline.training.sight import Sight, finished, gates, most
from pipeline.training.step import Figures, Step
from pipeline.training.validation import check_held_out, validate


def _show(line: str) -> None:
    print(line, flush=True)  # a log that is a file or a pipe shall grow line by line, too


def train(
    config: TrainConfig,
    report: Callable[[str], None] = _show,
    *,
    resume_step: int | None = None,
) -> Path:
    """Trains as configured, from where an earlier call was left, and returns the output folder.

    `resume_step` goes back to the checkpoint of that step; later ones are removed. Under torchrun each process calls
    this, and only the first reports.

    Raises:
        UserError: shards that are missing or of another schema; an output folder that cannot be written, that holds
            something else or a training of other settings; figures that the guard does not let pass.
    """
    output = Path(config.output)
    with ranks() as here, ExitStack() as stack:
        try:
            said = report if here.first else lambda line: None
            training = here.agreed(lambda: Training(config, here, said))
            training.run(stack, resume_step)
        except (OSError, SafetensorError) as error:
            raise UserError(f"{output}: cannot be written: {getattr(error, 'strerror', None) or error}") from None
    return output


@dataclass(slots=True)
class Launched:
    """A step that the device may still be busy with."""

    step: int  # 1, 2, …
    figures: Figures
    rate: float
    keys: list[str]  # documents of this rank's micro-batches
    epoch: int
    began: float
    waited: float  # for data
    flops: tuple[float, float]  # of the model, of the hardware; all ranks' as if they had what this one has


class Training:
    """What goes on from step to step: model, optimizer, place in the data."""

    def __init__(self, config: TrainConfig, ranks: Ranks, report: Callable[[str], None]) -> None:
        self.ranks, self.report = ranks, report
        self.output = Path(config.output)
        self.config = config = settled(config, ranks.world, report)
        assert config.micro_batch is not None
        self.accumulation = config.batch_size // (config.micro_batch * ranks.world)
        if config.threads:
            torch.set_num_threads(config.threads)
        check_lanes(config.data.lanes, ranks.world, config.data.workers)
        self.language = language(config)
        check_held_out(config)
        self.suspects = Suspects(config, ranks, report)
        self.sight = Sight(config, self.output if ranks.first else None, report, most(config.sight, ranks))
        self.requests = Requests(self.output if ranks.first else None)
        self.watchdog = Watchdog(config.guard.step_seconds, ranks.rank)
        self.loader: Loader | None = None
        self.asked = ""  # save, stop
        self.ended = False  # the data

    def run(self, stack: ExitStack, resume_step: int | None) -> None:
        """Makes all steps that are still to be made, and then the model's folder."""
        if self.ranks.first:
            self.output.mkdir(parents=True, exist_ok=True)
        self.store = Store(self.output / "checkpoints", self.config.checkpoints, self.ranks)
        stack.callback(self.store.close)
        stack.callback(self._close)
        steps, model = self.config.steps, self.output / MODEL
        if (
            resume_step is None
            and self.store.steps()[-1:] == [steps]
            and finished(self.output, steps)
            and model.is_dir()
        ):
            self.report(f"all {steps:,} steps are made, a larger `steps` goes on; model: {model}")
            return
        self.built = build(self.config, self.language, self.ranks)
        self._restore(resume_step)
        if self.ranks.first:
            write_json(self.output / SETTINGS, self.config.model_dump())
        self._announce()
        with self.requests.listening(), self.watchdog.watching():
            while not self._all_made():
                self._steps()
                if self.asked == "stop":
                    self.store.wait()
                    left = "the same command goes on from there"
                    self.report(f"stopped as asked, saved at step {self.done:,} of {self.config.steps:,}; {left}")
                    return
        self.store.wait()
        self._finish()

    def _close(self) -> None:
        self.sight.close()
        if self.loader is not None:
            self.loader.close()

    # Begin, resume, roll back

    def _restore(self, wanted: int | None = None) -> None:
        """Weights, optimizer, guard and data as of the latest checkpoint that can be used, or of the very start.

        Raises:
            UserError: the checkpoint `wanted` is not there; there are some, but none can be used.
        """
        built = self.built
        misfit = partial(built.misfit, micro_batch=self.config.micro_batch)
        mark = self.store.latest(wanted, built.model, built.optimizer, misfit, self.report)
        self.done, self.seen = (mark.step, mark.seen if self.ranks.first else 0) if mark else (0, 0)
        if mark:
            here = learning_rate(mark.step - 1, self.config.steps, self.config.optimizer)
            if here != mark.learning_rate:
                self.report(f"the learning rate of step {mark.step:,} was {mark.learning_rate:.4g}, now {here:.4g}")
            self.suspects.restore(mark.left_out, mark.incidents)
        if self.done > self.config.steps:
            said = f"steps {self.config.steps}: {self.output} has made {self.done} already"
            raise self.ranks.said_once(UserError(said))
        judge = Spikes(self.config.guard, self.ranks.device, mark.spikes if mark else None)
        names = [source.name for source in self.config.data.listed]
        self.step = Step(self.built, self.config, self.ranks, judge, names)
        if self.loader is not None:
            self.loader.close()
        self.loader = Loader(
            self.config,
            self.language,
            rank=self.ranks.rank,
            world=self.ranks.world,
            state=mark.data if mark else None,
            leave_out=self.suspects.left_out,
            report=self.report,
        )
        if mark and any(mark.data["lanes"][lane] != found for lane, found in self.loader.state_dict()["lanes"].items()):
            raise UserError(f"{self.store.folder}: the data's place at step {mark.step} cannot be taken up again")
        self.batches = iter(self.loader)
        self.sight.rewind(self.done)

    def _roll_back(self) -> None:
        self.watchdog.rest()
        self.store.wait()
        at = self.done
        if not self.store.steps():
            del self.built, self.step  # two models at once might not fit
            self.built = build(self.config, self.language, self.ranks)
        self._restore()
        self.sight.undo(at - self.done)
        self.sight.event("rollback", self.done, begun=at, left_out=len(self.suspects.left_out))
        self.report(f"rolled back to step {self.done:,}; {len(self.suspects.left_out):,} documents are left out")

    def _announce(self) -> None:
        if self.done:
            self.sight.event("resume", self.done, ranks=self.ranks.world)
            return
        sizes = parts(self.built.model)
        total, trained = sum(part.parameters for part in sizes), sum(part.trained for part in sizes)
        documents = sum(source.rows or 0 for source in self.language.sources)
        each = {part.name: {"parameters": part.parameters, "trained": part.trained} for part in sizes}
        size = self.language.vocabulary.size
        counts = {"documents": documents, "vocab_size": size, "parameters": total, "trained": trained}
        self.sight.event("start", 0, **counts, parts=each, ranks=self.ranks.world)
        self.report(f"{documents:,} documents, {size:,} tokens in the vocabulary")
        self.report(f"{total:,} parameters, of which {trained:,} are trained")

    # Steps

    def _all_made(self) -> bool:
        return self.ended or self.done == self.config.steps

    def _due(self, every: int | None) -> bool:
        return every is not None and self.done % every == 0

    def _steps(self) -> None:
        """Makes steps to the end, to a rollback, or until somebody asks to stop. While the device is busy with one, the
        figures of the one before are looked at; where a step is followed by something else, its own are waited for."""
        before: Launched | None = None
        while not self._all_made():
            launched = self._launch()
            if before is not None and self._settle(before, launched.began if launched else None):
                return self._roll_back()
            before = None if self.ended else launched
            if before is None or self._pauses():
                if before is not None and self._settle(before, None):
                    return self._roll_back()
                before = None
                self._between()
                if self.asked:
                    return None
        return None

    def _pauses(self) -> bool:
        end = self.done == self.config.steps or bool(self.asked)
        due = self._due(self.config.checkpoints.every) or self._due(self.config.validation.every)
        return end or due or self.sight.due(self.done)

    def _launch(self) -> Launched | None:
        """Draws the micro-batches of a step and hands them to the device; None where the data has ended."""
        assert self.loader is not None
        began = time.monotonic()
        self.watchdog.begin(self.done + 1)
        drawn: list[Batch] = []
        for batch in islice(self.batches, self.accumulation):
            place = (self.done * self.accumulation + len(drawn)) * self.ranks.world + self.ranks.rank
            self.seen = (self.seen + checkpoint.hash_of(place, batch.keys)) % 2**64
            drawn.append(batch)
        waited = time.monotonic() - began
        if not drawn and self.ranks.world == 1:
            self.ended = True
            return None
        ended = not drawn
        if self.ranks.world > 1:  # a rank without data goes along where others still have some
            drawn += [self.loader.padding() for _ in range(self.accumulation - len(drawn))]
        stop, save = self.requests.look()
        if self.ranks.world == 1 and (stop or save):
            self.asked = "stop" if stop else "save"
        rate = learning_rate(self.done, self.config.steps, self.config.optimizer)
        figures = self.step(self.done, drawn, rate, (stop, save, ended))
        self.done += 1
        keys = sorted({key for batch in drawn for window in batch.keys for key in window})
        epoch = max(batch.epoch for batch in drawn)
        each = [self.built.work.of(batch) for batch in drawn]
        flops = sum(model for model, _ in each) * self.ranks.world, sum(done for _, done in each) * self.ranks.world
        return Launched(self.done, figures, rate, keys, epoch, began, waited, flops)

    def _settle(self, launched: Launched, until: float | None) -> bool:
        """Looks at the figures of a step and writes them down; whether to roll back.

        Raises:
            UserError: the guard stops the training.
        """
        figures = launched.figures.wait()
        seconds = (until or time.monotonic()) - launched.began
        if figures["ended"] == self.ranks.world:
            self.ended, self.done = True, launched.step - 1
            return False
        if figures["stop"] or figures["save"]:
            self.asked = "stop" if figures["stop"] else "save"
        values: dict[str, Any] = {"learning_rate": launched.rate, "epoch": launched.epoch}
        if self.sight.due(launched.step):
            read = {name: counts.get("tokens", 0) for name, counts in self._read().items()}
            shares = {name: round(count / max(1, sum(read.values())), 4) for name, count in read.items()}
            values |= {"gates": gates(self.built.model), "shares": shares}
            if self.ranks.device.type == "cuda":
                values["memory"] = torch.cuda.max_memory_allocated()
        self.sight.step(launched.step, figures, values, seconds, launched.waited, launched.flops)
        return self.suspects.look(launched.step, figures, launched.keys, launched.rate)

    def _between(self) -> None:
        """What follows a step that was looked at: validation, a checkpoint."""
        self.watchdog.rest()
        if self._due(self.config.validation.every) or self._all_made():
            self._validate()
        if self.asked or self._due(self.config.checkpoints.every) or self._all_made():
            self._save()
        if self.asked == "save":
            self.report(f"saved at step {self.done:,}, as asked")
            self.asked = ""

    def _validate(self) -> None:
        found = validate(self.built.model, self.config, self.language, self.ranks)
        if found is not None:
            self.sight.event("validation", self.done, **found)
            self.report(f"validation: loss {found['loss']:.4f}" + (f"; {found['sight']}" if "sight" in found else ""))

    def _save(self) -> None:
        assert self.loader is not None
        assert self.config.micro_batch is not None
        states = self.ranks.gather(self.loader.state_dict())
        lanes = {lane: state for each in states for lane, state in each["lanes"].items()}
        place = max(state["next"] for state in states)  # the same on all, but for those whose data has ended
        mark = Mark(
            step=self.done,
            learning_rate=learning_rate(self.done - 1, self.config.steps, self.config.optimizer),
            model=self.built.fingerprint,
            frozen=self.built.frozen,
            trained=checkpoint.checksum(checkpoint.trained_state(self.built.model, self.built.optimizer), self.ranks),
            trained_only=self.config.checkpoints.trained_only,
            micro_batch=self.config.micro_batch,
            seen=sum(self.ranks.gather(self.seen)) % 2**64,
            data={"next": place, "lanes": lanes},
            spikes=self.step.spikes.state(),
            left_out=sorted(self.suspects.left_out),
            incidents=self.suspects.incidents,
            files={},
        )
        self.store.save(mark, self.built.model, self.built.optimizer)

    # The end

    def _finish(self) -> None:
        """Writes the model for stock transformers, lets it say something, and closes the log."""
        if self.ended:
            self.report(f"the data has ended: {self.done:,} steps of {self.config.steps:,} are made")
        generated = publish(self.built, self.language, self.config, self.ranks, self.output / MODEL)
        if generated is not None:
            self.sight.event("sample", self.done, **asdict(generated))
            self.report(f"sample: {printable(generated.prompt)} -> {printable(generated.text)}")
        if self.config.validation.few_shot and self.ranks.first:
            if self.built.sharded:
                self.report(
                    "few-shot tasks are asked by `carnac train CONFIG --few-shot`, as the model is in pieces here"
                )
            else:
                self.sight.event("few_shot", self.done, tasks=few_shot(self.config, self.report))
        read = self._read()
        if broken := sum(counts.get("broken_images", 0) for counts in read.values()):
            self.report(f"{broken:,} images could not be decoded and were left out")
        documents = sum(counts.get("documents", 0) for counts in read.values())
        self.sight.end(self.done, documents_read=documents, broken_images=broken, read=read)
        self.report(f"model: {self.output / MODEL}")

    def _read(self) -> dict[str, dict[str, int]]:
        """What was read of each source so far, on all ranks."""
        assert self.loader is not None
        return together(self.ranks.gather(self.loader.counts()))
