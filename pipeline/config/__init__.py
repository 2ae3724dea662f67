"""YAML in, checked settings out. What is unknown or wrong is one line: file, key, what was found, what is possible."""

from collections.abc import Sequence
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from pipeline.config.consent import Consent, Live, Requests, Spawning
from pipeline.config.decontaminate import Benchmark, Benchmarks
from pipeline.config.duplicates import TRACKING, Canonical, Duplicates, NearDuplicate, NearImage, Paragraphs, Shingle
from pipeline.config.engine import STAGES, EngineSettings, LogFolder, Metrics, Resources, Store
from pipeline.config.export import Export
from pipeline.config.images import AestheticModel, Asking, ClipModel, Downloader, Images, ImageScores, Mirror, NsfwModel
from pipeline.config.input import Crawl, Fetch, Index, Input
from pipeline.config.plan import Plan
from pipeline.config.read import read_yaml, validate
from pipeline.config.rules import ImageRules, RuleSet, ScoreRules
from pipeline.config.scores import Extract, KenLMFiles, LanguageScore, TextScores, TrainingLoss
from pipeline.config.section import Bytes, Section

__all__ = [
    "STAGES", "TRACKING", "AestheticModel", "Asking", "Benchmark", "Bytes", "Canonical", "ClipModel", "Config",
    "Consent", "Crawl", "Downloader", "Duplicates", "EngineSettings", "Export", "Extract", "Fetch", "ImageRules",
    "ImageScores", "Images", "Index", "Input", "KenLMFiles", "LanguageScore", "Live", "LogFolder", "Metrics", "Mirror",
    "NearDuplicate", "NearImage", "NsfwModel", "Paragraphs", "Plan", "Requests", "Resources", "RuleSet", "ScoreRules",
    "Section", "Shingle", "Spawning", "Store", "TextScores", "TrainingLoss", "load", "read_yaml", "validate",
]  # fmt: skip

# Rules, and the score that each needs.
_SCORED = {
    "language": "scores.language",
    "perplexity": "scores.perplexity",
    "training_loss": "scores.training_loss",
    **dict.fromkeys(("nsfw", "nsfw_label", "nsfw_image"), "images.scores.nsfw"),
    "clip_similarity": "images.scores.clip",
    "aesthetic": "images.scores.aesthetic",
}


class Config(Section):
    name: str = Field(pattern=r"^[\w.-]+$")
    output: str
    input: Input
    engine: EngineSettings = EngineSettings()
    extract: Extract = Extract()
    max_quarantined: float = Field(default=0.01, ge=0, le=1)  # share of a stage's documents on which a rule may fail
    # Shards that may have failed when a query is asked, which then goes on without them; null: all but one.
    max_failed_shards: int | None = Field(default=None, ge=0)
    text: RuleSet = RuleSet()
    scores: TextScores = TextScores()
    score_rules: ScoreRules = ScoreRules()
    duplicates: Duplicates = Duplicates()
    decontaminate: Benchmarks = ()
    consent: Consent = Consent()
    images: Images = Images()
    image_rules: ImageRules = ImageRules()
    final: RuleSet = RuleSet()
    export: Export = Export()
    plan: Plan = Plan()
    metrics: Metrics | None = None
    logs: Literal["plain", "json"] | LogFolder = "plain"  # json: instead of the plain lines

    @model_validator(mode="after")
    def _within_one_run(self) -> Self:
        if self.input.against and self.duplicates.near_image:
            raise ValueError("duplicates.near_image compares the images of one run: leave it out beside input.against")
        return self

    @model_validator(mode="after")
    def _scores_are_made(self) -> Self:
        for rule in (*self.score_rules.document, *self.image_rules.document, *self.image_rules.image):
            made: Any = self
            for part in _SCORED.get(rule, "name").split("."):
                made = getattr(made, part)
            if not made:
                raise ValueError(f"the rule {rule} needs its score: set {_SCORED[rule]}")
        if self.duplicates.near_image and self.duplicates.near_image.hash != "sha256" and not self.images.scores.hashes:
            raise ValueError(
                "duplicates.near_image needs hashes: set images.scores.hashes, or near_image.hash to sha256"
            )
        return self


def load(path: str, overrides: Sequence[str] = ()) -> Config:
    return validate(Config, read_yaml(path, overrides), path)
