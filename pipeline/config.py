"""YAML in, checked settings out. What is unknown or wrong is one line: file, key, what was found, what is possible."""

import difflib
import ipaddress
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from filters.perplexity import KenLM, Trigram
from pipeline.errors import UserError
from pipeline.rules import Rules, check

Model = TypeVar("Model", bound=BaseModel)

_UNITS = {"": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def _bytes(value: object) -> object:
    if not isinstance(value, str):
        return value
    number = value.rstrip("BkKMGT ")
    try:
        return int(float(number) * _UNITS[value[len(number) :].strip()])
    except (KeyError, ValueError, OverflowError):
        raise ValueError(f"{value!r} is no size; write 500 MB or 4 GB") from None


Bytes = Annotated[int, BeforeValidator(_bytes), Field(gt=0)]


def _rules_of(room: str) -> Callable[[Rules], Rules]:
    def checked(named: Rules) -> Rules:
        check(named, room)
        return named

    return checked


def _network(cidr: str) -> str:
    ipaddress.ip_network(cidr)
    return cidr


def _readable(path: str) -> str:
    try:
        Path(path).open("rb").close()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    return path


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Input(Section):
    """WARC, ARC or WACZ files: paths, folders (searched through) and globs."""

    paths: list[str] = Field(min_length=1)
    split: Bytes = 200 * 10**6  # compressed bytes of a shard of work, about a minute of reading and extracting


class EngineSettings(Section):
    workers: int | None = Field(default=None, ge=1)  # none: one a core
    memory: Bytes = 4 * 10**9  # of a query, before it spills
    spill: str | None = None  # folder for what does not fit; none: inside the run's output


class Extract(Section):
    method: Literal["main", "obelics", "trafilatura"] = "main"
    max_page: Bytes = 5 * 10**6  # bytes of a page's body; what lies beyond is not read
    seconds: float = Field(default=10, gt=0)  # that one page may take; a slower one is dropped


class RuleSet(Section):
    """Rules by what they judge; each is a line `name: {threshold: value, …}`, and they are asked in their order."""

    image: Annotated[Rules, AfterValidator(_rules_of("image"))] = {}
    paragraph: Annotated[Rules, AfterValidator(_rules_of("paragraph"))] = {}
    document: Annotated[Rules, AfterValidator(_rules_of("document"))] = {}


class ScoreRules(RuleSet):
    """Rules once texts were scored."""

    document: Annotated[Rules, AfterValidator(_rules_of("scored document"))] = {}


class ImageRules(RuleSet):
    """Rules once images were seen and scored."""

    document: Annotated[Rules, AfterValidator(_rules_of("seen document"))] = {}
    image: Annotated[Rules, AfterValidator(_rules_of("seen image"))] = {}


class KenLMFiles(Section):
    """The two files of a KenLM model."""

    model: str
    tokenizer: str

    @model_validator(mode="after")
    def _there(self) -> Self:
        KenLM.ready(self.model, self.tokenizer)
        return self


def _trigram(name: str) -> str:
    Trigram.ready()
    return name


class TextScores(Section):
    """What models are asked about a document's text. Their answers are columns; thresholds on them are `score_rules`."""

    language: bool = True  # fastText lid.176
    perplexity: KenLMFiles | Annotated[Literal["trigram"], AfterValidator(_trigram)] | None = None


class NearDuplicate(Section):
    """MinHash over shingles of words: documents that share a band of `rows` hashes are taken for one."""

    bands: int = Field(default=16, ge=1)
    rows: int = Field(default=8, ge=1)
    shingle: int = Field(default=5, ge=1)  # words
    seed: int = Field(default=1, ge=0, lt=2**32)


class Occurrences(Section):
    max: int = Field(ge=1)


class Duplicates(Section):
    """Each line is a decision over the whole corpus; one that is left out is not taken."""

    image_repeated: bool = False
    image_everywhere: Occurrences | None = None
    latest_url: bool = False
    near_duplicate: NearDuplicate | None = None
    paragraph_repeated: Occurrences | None = None
    latest_image_set: bool = False


class Consent(Section):
    """Who may say no, and files with addresses or hosts that did, one a line."""

    signals: list[Literal["x_robots_tag", "meta_robots", "tdm_reservation"]] = []
    lists: list[Annotated[str, AfterValidator(_readable)]] = []


class Download(Section):
    """The live web through img2dataset."""

    threads: int = Field(default=32, ge=1, le=512)
    timeout: float = Field(default=10, gt=0)  # seconds of one try: connection, redirects and body together
    retries: int = Field(default=1, ge=0, le=10)
    deadline: float = Field(default=600, gt=0)  # seconds a shard's downloads may take altogether
    max_bytes: Bytes = 20 * 10**6  # of one image
    user_agent: str = Field(default="carnac/0.1", min_length=1, pattern=r"^[\x20-\x7e]+$")  # add a contact
    allowed_networks: list[Annotated[str, AfterValidator(_network)]] = []  # private ones that may be asked: 10.1.0.0/16


class NsfwModel(Section):
    """The classifier of nsfwjs that comes along, or an ONNX file with its labels, or a transformers checkpoint."""

    model: str | None = None
    labels: tuple[str, ...] | None = None
    device: Literal["cpu", "cuda"] = "cpu"

    @model_validator(mode="after")
    def _there(self) -> Self:
        if self.model is not None or self.device != "cpu":
            from pipeline.models.nsfw import Nsfw

            Nsfw.ready(self.model, self.device, self.labels)
        return self


class ClipModel(Section):
    """A CLIP checkpoint, a folder or a name on the hub: how alike an image is to the text beside it."""

    checkpoint: str
    device: Literal["cpu", "cuda"] = "cpu"

    @model_validator(mode="after")
    def _there(self) -> Self:
        from pipeline.models.clip import Clip

        Clip.ready(self.checkpoint, self.device)
        return self


class AestheticModel(Section):
    """A linear head on the embeddings of a CLIP checkpoint."""

    checkpoint: str
    head: str
    device: Literal["cpu", "cuda"] = "cpu"

    @model_validator(mode="after")
    def _there(self) -> Self:
        from pipeline.models.clip import Aesthetic

        Aesthetic.ready(self.checkpoint, self.head, self.device)
        return self


class ImageScores(Section):
    """What is asked about an image when it is decoded. The answers are columns; thresholds on them are `image_rules`."""

    hashes: bool = True  # phash and PDQ
    nsfw: NsfwModel | None = None
    clip: ClipModel | None = None
    aesthetic: AestheticModel | None = None


class Images(Section):
    """Where images come from, and what is read at most."""

    sources: list[Literal["crawl", "web"]] = ["crawl"]
    max_bytes: Bytes = 20 * 10**6
    max_pixels: int = Field(default=100_000_000, gt=0)
    seconds: float = Field(default=10, gt=0)
    download: Download = Download()
    scores: ImageScores = ImageScores()


class Export(Section):
    """Shards for training (`images`: with bytes) and for publishing (`urls`: addresses alone)."""

    forms: list[Literal["images", "urls"]] = Field(default=["images", "urls"], min_length=1)
    shard_size: Bytes = 500 * 10**6
    row_group_size: Bytes = 64 * 10**6
    validation: float = Field(default=0.0, ge=0, lt=1)  # share of the documents, drawn by the hash of their address
    licence: str = "other"
    title: str = "An interleaved image-text corpus"


# Rules, and the score that each needs.
_SCORED = {
    "language": "scores.language",
    "perplexity": "scores.perplexity",
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
    text: RuleSet = RuleSet()
    scores: TextScores = TextScores()
    score_rules: ScoreRules = ScoreRules()
    duplicates: Duplicates = Duplicates()
    consent: Consent = Consent()
    images: Images = Images()
    image_rules: ImageRules = ImageRules()
    final: RuleSet = RuleSet()
    export: Export = Export()

    @model_validator(mode="after")
    def _scores_are_made(self) -> Self:
        for rule in (*self.score_rules.document, *self.image_rules.document, *self.image_rules.image):
            made: Any = self
            for part in _SCORED.get(rule, "name").split("."):
                made = getattr(made, part)
            if not made:
                raise ValueError(f"the rule {rule} needs its score: set {_SCORED[rule]}")
        return self


def load(path: str, overrides: Sequence[str] = ()) -> Config:
    return validate(Config, read_yaml(path, overrides), path)


class _Loader(yaml.SafeLoader):
    """YAML in which a key that is written twice is an error, not the second silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":  # `<<: *anchor`, whose keys may be written over
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int | float):
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is no name", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(path: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The mapping in a YAML file, with `a.b=c` overrides applied (values are YAML, too).

    Raises:
        UserError: no such file, no YAML, no mapping, or an override that is not of the form `a.b=c`.
    """
    try:
        raw = yaml.load(Path(path).read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text") from None
    except (yaml.YAMLError, ValueError) as error:  # a ValueError: what looks like a date and is none
        raise UserError(f"{path}: no valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise UserError(f"{path}: expected a mapping of sections, found {type(raw).__name__}")
    for override in overrides:
        _override(raw, override)
    return raw


def _override(raw: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise UserError(f"--set {override}: expected section.key=value")
    try:
        parsed = yaml.load(value, _Loader)
    except (yaml.YAMLError, ValueError):
        raise UserError(f"--set {override}: {value!r} is no YAML value") from None
    *parents, last = key.split(".")
    place = raw
    for parent in parents:
        if place.get(parent) is None:
            place[parent] = {}
        place = place[parent]
        if not isinstance(place, dict):
            raise UserError(f"--set {override}: {parent} is no section")
    place[last] = parsed


def validate(model: type[Model], raw: dict[str, Any], path: str) -> Model:
    """Checks a mapping against a pydantic model.

    Raises:
        UserError: names the file, the key, the value found and the choices; the first problem and how many more.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        problems = error.errors()
        first = problems[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        if first["type"] == "extra_forbidden":
            said = _unknown(str(first["loc"][-1]), _known(model, first["loc"][:-1]))
        elif first["type"] == "missing":
            said = "is missing"
        elif first["type"] == "value_error":
            said = str(first["ctx"]["error"])
        else:
            said = f"{first['msg'].lower()}, found {first['input']!r:.80}"
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise UserError(f"{path}: {key}: {said}{more}") from None


def _known(model: type[BaseModel], place: tuple[int | str, ...]) -> list[str]:
    for part in place:
        if not isinstance(part, str) or part not in model.model_fields:
            continue
        annotation = model.model_fields[part].annotation
        for choice in (annotation, *getattr(annotation, "__args__", ())):
            if isinstance(choice, type) and issubclass(choice, BaseModel):
                model = choice
    return list(model.model_fields)


def _unknown(name: str, choices: list[str]) -> str:
    near = difflib.get_close_matches(name, choices, 1)
    return f"unknown key{f', did you mean {near[0]}?' if near else ''} (known: {', '.join(choices)})"
