"""YAML in, checked settings out. What is unknown or wrong is one line: file, key, what was found, what is possible."""

import difflib
import ipaddress
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from filters.language import MAX_CHARACTERS, PIECES, Language
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


class Agent(Section):
    user_agent: str = Field(default="carnac/0.1", min_length=1, pattern=r"^[\x20-\x7e]+$")
    contact: str | None = Field(default=None, pattern=r"^[\x21-\x7e]+$")  # an address where you can be reached

    @property
    def agent(self) -> str:
        """The header by which servers know us."""
        return f"{self.user_agent} (+{self.contact})" if self.contact else self.user_agent


class Fetch(Agent):
    """How hosts and stores are asked for the crawl's own files."""

    at_once: int = Field(default=10, ge=1, le=1000)  # requests to one host, of all workers; as Common Crawl advises
    connect: float = Field(default=10, gt=0)  # seconds for a connection
    silence: float = Field(default=30, gt=0)  # seconds without a byte
    retries: int = Field(default=8, ge=0)  # tries in a row that bring nothing, after the first
    back_off: float = Field(default=1, ge=0)  # seconds before the second try, doubled for each further one, less jitter
    patience: float = Field(default=600, ge=0)  # seconds that a host may ask us to wait (Retry-After)
    deadline: float = Field(default=900, gt=0)  # seconds for one stretch of a file, with all tries and pauses between
    gap: int = Field(default=64 * 1024, ge=0)  # bytes between two wanted records that are read along
    endpoint: str | None = None  # of an S3 store that is not AWS's
    region: str = "us-east-1"  # of S3 buckets; Common Crawl's
    anonymous: bool = False  # S3 without credentials


class Crawl(Section):
    """A crawl of Common Crawl by its name: all of its WARC files, or a sample."""

    name: str = Field(pattern=r"^CC-(MAIN-[\d-]+|NEWS-\d{4}-\d{2})$")
    files: int | None = Field(default=None, ge=1)  # so many of them, drawn by `seed`
    seed: int = 0


class Index(Section):
    """Captures by a condition over Common Crawl's columnar index, or one of its form."""

    crawl: str | None = Field(default=None, pattern=r"^CC-MAIN-[\d-]+$")
    files: list[str] | None = Field(default=None, min_length=1)  # Parquet: paths, globs and addresses
    where: str = "true"  # SQL
    limit: int | None = Field(default=None, ge=1)  # captures, drawn by `seed`
    seed: int = 0

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.crawl is None) == (self.files is None):
            raise ValueError("name a crawl, whose index is asked, or the index's files: one of crawl and files")
        return self


class Input(Section):
    """What is read: one of `paths`, `crawl`, `pointers`, `index`."""

    paths: list[str] | None = Field(
        default=None, min_length=1
    )  # files, folders and globs; addresses of hosts and stores
    crawl: Crawl | None = None
    pointers: str | None = (
        None  # Parquet with warc_filename, warc_record_offset, warc_record_length; path, glob or address
    )
    index: Index | None = None
    base: str = "https://data.commoncrawl.org/"  # what names of files in a crawl, an index or a table begin with
    cache: str | None = None  # folder that keeps copies of remote files; none: only what is being read is held
    fetch: Fetch = Fetch()
    against: list[str] = []  # folders of earlier runs, whose documents these are compared with
    split: Bytes = 200 * 10**6  # compressed bytes of a shard of work, about a minute of reading and extracting

    @model_validator(mode="after")
    def _one(self) -> Self:
        ways = ("paths", "crawl", "pointers", "index")
        named = [way for way in ways if getattr(self, way) is not None]
        if len(named) != 1:
            raise ValueError(f"choose one of {', '.join(ways)}; found {' and '.join(named) or 'none'}")
        return self

    @property
    def choice(self) -> dict[str, Any]:
        """What tells this input from another, whatever the way by which it comes."""
        return self.model_dump(mode="json", exclude={"cache", "fetch"}, exclude_none=True)


class Resources(Section):
    """What one shard of a stage holds while it is worked on, on a cluster."""

    cpus: float = Field(default=1, gt=0)
    gpus: float = Field(default=0, ge=0)
    memory: Bytes | None = None

    def __str__(self) -> str:
        memory = f", {self.memory / 10**9:.3g} GB of memory" if self.memory else ""
        return f"{self.cpus:g} CPUs, {self.gpus:g} GPUs{memory}"


# The stages of pipeline/flow.py and of what it calls, by what stands before the first slash of their names.
STAGES = (
    "benchmarks", "consent", "decontaminate", "decontaminate_images", "documents", "earlier", "export", "fetched", "final",
    "image_keys", "image_rules", "images", "keys", "near_duplicate", "near_image", "score_rules", "scores", "text",
    "training_loss", "unique", "unique_images",
)  # fmt: skip


def _stages(named: dict[str, Resources]) -> dict[str, Resources]:
    for name in named:
        if name not in STAGES:
            raise ValueError(f"{_unknown(name, list(STAGES)).replace('key', 'stage', 1)}")
    return named


class Store(Section):
    """How a store is asked, where the output lies on one."""

    retries: int = Field(default=6, ge=0)  # of a call that fails
    back_off: float = Field(default=0.5, ge=0)  # seconds before the first of them; doubled from there, and jittered
    at_once: int = Field(default=16, ge=1)  # calls of a process
    beat: float = Field(default=5, gt=0)  # seconds in which a run shows that it is alive


class EngineSettings(Section):
    workers: int | None = Field(default=None, ge=0)  # none: one a core; 0: all in one process
    memory: Bytes = 4 * 10**9  # of a query, before it spills
    spill: str | None = None  # folder for what does not fit; none: inside the run's output
    max_spill: Bytes | None = None  # there, at most; none: nine tenths of what is free
    # Seconds that a worker may go without beginning a document or doing a unit of work; then it is ended and the document
    # at hand left out. Longer than hosts may be waited for (input.fetch.deadline).
    patience: float = Field(default=1800, gt=0)
    resources: Annotated[dict[str, Resources], AfterValidator(_stages)] = {}  # of stages; with --engine ray
    autoscales: bool = False  # whether nodes come to the cluster when they are asked for
    store: Store = Store()


class Metrics(Section):
    """Where the process that drives a run answers Prometheus."""

    port: int = Field(default=9100, ge=1, le=65535)
    address: str = Field(default="127.0.0.1", min_length=1)  # 0.0.0.0: whoever reaches this machine


class LogFolder(Section):
    """A line of JSON a finished task in `folder`/tasks.jsonl, beside the plain lines."""

    folder: str = Field(min_length=1)


class Extract(Section):
    method: Literal["main", "obelics", "trafilatura"] = "main"
    max_page: Bytes = 5 * 10**6  # bytes of a page's body; what lies beyond is not read
    seconds: float = Field(default=10, gt=0)  # that one page may take; a slower one is dropped
    inline_images: Bytes | None = None  # up to so many bytes an image inside of its address (data:) is kept; none: not


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


def _switched(value: object) -> object:
    """A section whose settings have defaults can be switched on or off by a word."""
    return ({} if value else None) if isinstance(value, bool) else value


class LanguageScore(Section):
    """fastText lid.176 on so many characters of a document at most, taken at equal distances; null: on all of them."""

    max_characters: int | None = Field(default=MAX_CHARACTERS, ge=PIECES)

    @model_validator(mode="after")
    def _there(self) -> Self:
        Language.ready()
        return self


class TrainingLoss(Section):
    """What `carnac train --score-documents` wrote: a folder of Parquet files, or one."""

    path: str

    @model_validator(mode="after")
    def _there(self) -> Self:
        from pipeline.losses import tables

        tables(self.path)
        return self


class TextScores(Section):
    """What models are asked about a document's text. Their answers are columns; thresholds on them are `score_rules`."""

    language: Annotated[LanguageScore | None, BeforeValidator(_switched)] = LanguageScore()  # or true, or false
    perplexity: KenLMFiles | Annotated[Literal["trigram"], AfterValidator(_trigram)] | None = None
    training_loss: TrainingLoss | None = None  # of a model that was trained on a corpus of the same records

    @property
    def asked(self) -> Self:
        """What is asked of models now: a table of losses that came later must not ask them again."""
        return self.model_copy(update={"training_loss": None})


class Shingle(Section):
    """What two texts are compared by: runs of so many words, or of so many characters."""

    words: int | None = Field(default=None, ge=1)
    characters: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.words is None) == (self.characters is None):
            raise ValueError("write words: N or characters: N")
        return self


class NearDuplicate(Section):
    """MinHash: documents that share a band of `rows` hashes are compared, and joined if they are similar enough."""

    permutations: int = Field(default=128, ge=1, le=4096)
    bands: int = Field(default=16, ge=1)
    rows: int = Field(default=8, ge=1)
    shingle: Shingle = Shingle(words=5)
    similarity: float = Field(default=0.75, gt=0, le=1)  # Jaccard, estimated over all permutations
    images: float | None = Field(
        default=None, gt=0, le=1
    )  # share of the fewer images that both must have; none: text alone
    window: int = Field(default=8, ge=2)  # of a larger band's documents each is compared with so many on either side
    seed: int = Field(default=1, ge=0, lt=2**32)

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.bands * self.rows > self.permutations:
            raise ValueError(
                f"{self.bands} bands of {self.rows} rows need {self.bands * self.rows} permutations, "
                f"found {self.permutations}"
            )
        return self


class Occurrences(Section):
    max: int = Field(ge=1)


class Paragraphs(Occurrences):
    by: Literal["host", "registered_domain"] = "host"


# Names of parameters that say from where a reader came, not what is read; a star stands for any ending.
TRACKING = (
    "utm_* mtm_* matomo_* pk_* piwik_* hsa_* fbclid gclid gclsrc dclid gbraid wbraid msclkid twclid ttclid li_fat_id igshid "
    "yclid ysclid mc_cid mc_eid mkt_tok _hsenc _hsmi _ga _gl oly_anon_id oly_enc_id vero_id s_cid"
).split()


class Canonical(Section):
    """What tells no page from another: each line that is true is taken from the address before it is compared."""

    host_case: bool = True
    default_port: bool = True
    trailing_dots: bool = True  # of the host
    fragment: bool = True
    parameters: list[str] = TRACKING  # of the query, by name; a star stands for any ending
    sort_query: bool = False
    scheme: bool = False  # http and https are one
    www: bool = False


def _as_written(value: object) -> object:
    """The word `as_written` for an address from which nothing is taken."""
    if value == "as_written":
        return {name: [] if name == "parameters" else False for name in Canonical.model_fields}
    if isinstance(value, str):
        raise ValueError(f"write as_written, or what is taken from an address as a mapping, found {value!r}")
    return value


# Bits at most between copies of one image: PDQ's authors (ThreatExchange) advise 31 of 256; 6 of phash's 64 were measured
# (`tests/benchmarks/image_duplicates.py`).
_DISTANCE = {"sha256": 0, "phash": 6, "pdq": 31}


def _advised(given: dict[str, Any]) -> int:
    return _DISTANCE.get(given.get("hash", ""), 0)


class NearImage(Section):
    """What counts as one image once they were seen: the same bytes, or hashes that differ in few bits. Hashes that share
    one of `bands` bands of `bits` bits are compared, `window` of a band with each."""

    hash: Literal["sha256", "phash", "pdq"] = "pdq"
    distance: int = Field(default_factory=_advised, ge=0)  # bits
    bands: int = Field(default=32, ge=1, le=1024)
    bits: int = Field(default=20, ge=1, le=48)
    window: int = Field(default=1000, ge=1)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        most = _DISTANCE[self.hash] * 2
        if self.distance > most:  # beyond, strangers are taken for copies
            raise ValueError(f"distance: at most {most} bits of a {self.hash}, found {self.distance}")
        return self


class Duplicates(Section):
    """Each line is a decision over the whole corpus; one that is left out is not taken."""

    canonical: Annotated[Canonical, BeforeValidator(_as_written)] = Canonical()
    image_repeated: bool = False
    image_everywhere: Occurrences | None = None
    latest_url: bool = False
    near_duplicate: NearDuplicate | None = None
    paragraph_repeated: Paragraphs | None = None
    latest_image_set: bool = False
    near_image: NearImage | None = None  # what those about images are decided by once they were seen, beside addresses

    @property
    def unseen(self) -> Self:
        """What is decided before images are seen: a change of the rest must not fetch them again."""
        return self.model_copy(update={"latest_image_set": False, "near_image": None})

    @model_validator(mode="after")
    def _used(self) -> Self:
        if self.near_image and not (self.image_repeated or self.image_everywhere or self.latest_image_set):
            raise ValueError(
                "near_image decides nothing alone: set image_repeated, image_everywhere or latest_image_set"
            )
        return self


def _several(value: object) -> object:
    return [value] if isinstance(value, str) else value


Columns = Annotated[tuple[str, ...], BeforeValidator(_several)]


class Benchmark(Section):
    """An evaluation set, Parquet or JSON lines, of which nothing may be trained on: n-grams of words of the columns `text`,
    and images of the columns `image` (bytes, paths beside the set, or hashes in hexadecimal: phash or PDQ)."""

    name: str = Field(pattern=r"^[\w.-]+$")
    path: Annotated[str, AfterValidator(_readable)]
    text: Columns = ()
    image: Columns = ()
    id: str | None = None  # column that names a row in the ledger; none: its number
    n: int = Field(default=13, ge=2, le=100)  # words; a shorter text is not compared
    drop: Literal["document", "paragraph"] = "document"
    # An n-gram in more documents is a common phrase (GPT-3, arXiv 2005.14165, appendix C); null: none is too common.
    max_documents: int | None = Field(default=10, ge=1)
    pdq: int = Field(default=_DISTANCE["pdq"], ge=0, le=2 * _DISTANCE["pdq"])  # bits between copies of an image
    phash: int = Field(default=_DISTANCE["phash"], ge=0, le=2 * _DISTANCE["phash"])

    @model_validator(mode="after")
    def _there(self) -> Self:
        from pipeline.benchmarks import columns

        if not self.text and not self.image:
            raise ValueError(f"{self.name}: name its columns: text or image")
        known = columns(self.path)
        for name in (*self.text, *self.image, *([self.id] if self.id else [])):
            if name not in known:
                raise ValueError(f"{self.path}: no column {name} (its columns: {', '.join(known)})")
        return self


def _named_once(sets: tuple[Benchmark, ...]) -> tuple[Benchmark, ...]:
    names = [benchmark.name for benchmark in sets]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"two sets are named {min(twice)}")
    return sets


SignalName = Literal[
    "x_robots_tag", "meta_robots", "noindex", "tdm_reservation", "content_usage", "content_signal", "rsl", "robots_txt",
    "ai_txt", "c2pa", "iptc",
]  # fmt: skip


class Live(Section):
    """A file that is asked of each host, or that a host names; off: it is not asked."""

    live: bool = False


class RobotsFiles(Live):
    """Where robots.txt comes from: Common Crawl's captures of it, as of the crawl's date, and for hosts without one the
    host itself, as of now."""

    captures: list[str] = []  # WARC files, folders and globs


class Requests(Section):
    """How hosts are asked for their files."""

    user_agent: str = Field(default="carnac/0.1", min_length=1, pattern=r"^[\x20-\x7e]+$")  # add a contact
    seconds: float = Field(default=10, gt=0)  # of one request, redirects and body included
    threads: int = Field(default=16, ge=1, le=512)  # hosts that are asked at once, in each worker
    allowed_networks: list[Annotated[str, AfterValidator(_network)]] = []  # private ones that may be asked: 10.1.0.0/16


class Spawning(Section):
    """The registry's API, or one that speaks as it does; its key is the environment variable SPAWNING_OPTS_KEY."""

    url: str = Field(default="https://opts-api.spawningaiapi.com/api/v2/query/urls", pattern="^https?://")
    batch: int = Field(default=1000, ge=2, le=1000)  # addresses a request
    pause: float = Field(default=1, ge=0)  # seconds between two requests of a worker
    retries: int = Field(default=2, ge=0, le=10)


class Consent(Section):
    """Who may say no: signals that are heeded, where those that do not come with the page are asked, and lists."""

    signals: list[SignalName] = []
    agent: str = Field(default="carnac", pattern=r"^[A-Za-z_-]+$")  # whose rules in robots.txt are ours …
    agents: list[str] = [  # … and those of crawlers that fetch for training, or that train
        "CCBot", "GPTBot", "Google-Extended", "Applebot-Extended", "ClaudeBot", "anthropic-ai", "Bytespider",
        "meta-externalagent", "FacebookBot", "Amazonbot", "cohere-training-data-crawler", "Diffbot", "omgili",
        "img2dataset", "LAIONDownloader",
    ]  # fmt: skip
    robots: RobotsFiles = RobotsFiles()  # for robots_txt, content_usage, content_signal and rsl
    tdmrep: Live = Live()  # /.well-known/tdmrep.json, for tdm_reservation
    ai_txt: Live = Live()
    rsl: Live = Live()  # documents that robots.txt or a header names
    spawning: Spawning | None = None
    lists: list[Annotated[str, AfterValidator(_readable)]] = []  # addresses and hosts: Parquet, CSV, or one a line
    strict: bool = False  # what was not checked counts as refused
    requests: Requests = Requests()

    @model_validator(mode="after")
    def _sources_are_named(self) -> Self:
        for signal in {"robots_txt", "content_signal"} & set(self.signals):
            if not self.robots.captures and not self.robots.live:
                raise ValueError(
                    f"the signal {signal} needs a source: set consent.robots.captures or consent.robots.live"
                )
        if "ai_txt" in self.signals and not self.ai_txt.live:
            raise ValueError("the signal ai_txt is asked of hosts: set consent.ai_txt.live")
        return self

    @property
    def asks_hosts(self) -> bool:
        """Whether files are asked over the network."""
        return self.robots.live or self.tdmrep.live or self.ai_txt.live or self.rsl.live


Downloader = Literal["aiohttp", "img2dataset"]  # what pipeline.asker.DOWNLOADERS has


class Download(Agent):
    """How a mirror and the live web are asked."""

    processes: int = Field(default=1, ge=1, le=256)  # that ask, each one its own hosts
    in_flight: int = Field(default=128, ge=1, le=4096)  # requests at once of a process
    per_host: int = Field(default=4, ge=1)  # requests at once to one host
    per_address: int | None = Field(default=None, ge=1)  # requests at once to one IP address, where many hosts share it
    rate: float | None = Field(default=None, gt=0)  # requests a second to one host
    connect: float = Field(default=5, gt=0)  # seconds for a name, and again for a connection
    silence: float = Field(default=10, gt=0)  # seconds without a byte
    timeout: float = Field(default=20, gt=0)  # seconds of one try: connection, redirects and body together
    retries: int = Field(default=2, ge=0, le=10)
    back_off: float = Field(default=1, ge=0)  # seconds before the second try, doubled for each further one
    patience: float = Field(default=60, ge=0)  # seconds that a server may ask us to wait (Retry-After)
    host_failures: int = Field(default=20, ge=1)  # without any answer between, after which a host is left alone
    max_bytes: Bytes = 20 * 10**6  # of one image
    allowed_networks: list[Annotated[str, AfterValidator(_network)]] = []  # private ones that may be asked: 10.1.0.0/16
    deadline: float = Field(default=600, gt=0)  # seconds that img2dataset may take for a batch


def _template(address: str) -> str:
    if address.count("{url}") + address.count("{quoted}") != 1:
        raise ValueError(f"{address}: holds neither {{url}} nor {{quoted}}, or more than one of them")
    if not address.startswith(("http://", "https://")):
        raise ValueError(f"{address}: begins with neither http:// nor https://")
    return address


class Mirror(Section):
    """A cache, a company's mirror, a web archive: `{url}` is the image's address as it is, `{quoted}` percent-encoded."""

    address: Annotated[str, AfterValidator(_template)]
    one_host: bool = False  # limits count for the mirror as one host (an archive); else for each host that it mirrors


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

    sources: list[Literal["crawl", "mirror", "web"]] = ["crawl"]  # asked in this order
    mirror: Mirror | None = None
    downloader: Downloader = "aiohttp"  # of the web
    max_bytes: Bytes = 20 * 10**6
    max_pixels: int = Field(default=100_000_000, gt=0)
    seconds: float = Field(default=10, gt=0)
    download: Download = Download()
    scores: ImageScores = ImageScores()

    @model_validator(mode="after")
    def _sources_are_there(self) -> Self:
        if "mirror" in self.sources and self.mirror is None:
            raise ValueError("the source mirror needs its address: set images.mirror.address")
        if "mirror" in self.sources and self.downloader == "img2dataset":
            raise ValueError(
                "img2dataset asks the web alone: take mirror out of images.sources, or leave out downloader"
            )
        if "web" in self.sources and self.downloader == "img2dataset":
            from pipeline.download import ready

            ready()
        return self


class Asking(Download):
    """All that decides how an address is answered, taken from several sections."""

    sources: list[Literal["mirror", "web"]] = ["web"]
    first: int = 1  # how many of these come before the crawl, and are asked for images that the crawl has, too
    mirror: Mirror | None = None
    downloader: Downloader = "aiohttp"
    signals: list[str] = ["x_robots_tag", "tdm_reservation"]  # in an image's own response headers
    strict: bool = False

    @classmethod
    def of(cls, images: Images, consent: Consent) -> Self | None:
        """None where the crawl is the only source."""
        asked = [source for source in images.sources if source != "crawl"]
        if not asked:
            return None
        first = images.sources.index("crawl") if "crawl" in images.sources else len(asked)
        said = {"sources": asked, "first": first, "mirror": images.mirror, "downloader": images.downloader}
        return cls.model_validate(
            images.download.model_dump() | said | {"signals": consent.signals, "strict": consent.strict}
        )


class Export(Section):
    """Shards for training (`images`: with bytes) and for publishing (`urls`: addresses alone)."""

    forms: list[Literal["images", "urls"]] = Field(default=["images", "urls"], min_length=1)
    shard_size: Bytes = 500 * 10**6
    row_group_size: Bytes = 64 * 10**6
    validation: float = Field(default=0.0, ge=0, lt=1)  # share of the documents, drawn by the hash of their address
    licence: str = "other"
    title: str = "An interleaved image-text corpus"


class Prices(Section):
    """Of what a run uses, in a currency of yours; what has no price is told, not taken for free."""

    core_hour: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    gpu_hour: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    gb_read: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    gb_month: float | None = Field(default=None, ge=0, allow_inf_nan=False)  # of what is stored
    thousand_requests: float | None = Field(default=None, ge=0, allow_inf_nan=False)


def _rising(between: tuple[float, float]) -> tuple[float, float]:
    if between[0] > between[1]:
        raise ValueError(f"{between[0]:g} to {between[1]:g}: the lower end comes first")
    return between


Share = Annotated[float, Field(ge=0, le=1)]


class Plan(Section):
    """What `carnac plan` draws, and what it takes for known that no sample can show. No stage reads it."""

    seconds: float = Field(default=60, gt=0, allow_inf_nan=False)  # of one core, about, for the pilot
    seed: int = Field(default=1, ge=0)  # of the sample
    cores: int | None = Field(default=None, ge=1)  # that the run will have; none: its workers
    months: float = Field(default=1, ge=0, allow_inf_nan=False)  # for which what is stored is paid
    duplicates: Share | None = None  # share that decisions over the whole take at most; none: what OBELICS lost to them
    answered: Annotated[tuple[Share, Share], AfterValidator(_rising)] = (
        0.3,
        0.95,
    )  # of image addresses, by mirror or web
    image_size: Annotated[tuple[Bytes, Bytes], AfterValidator(_rising)] = (20_000, 200_000)  # in the mean, of those
    prices: Prices = Prices()


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
    decontaminate: Annotated[tuple[Benchmark, ...], AfterValidator(_named_once)] = ()
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
