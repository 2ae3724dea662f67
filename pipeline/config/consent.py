"""Who may say no, and how he is asked: the settings under `consent`."""

from typing import Literal, Self

from pydantic import Field, model_validator

from pipeline.config.section import Network, Readable, Section

_SignalName = Literal[
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
    allowed_networks: list[Network] = []  # private ones that may be asked: 10.1.0.0/16


class Spawning(Section):
    """The registry's API, or one that speaks as it does; its key is the environment variable SPAWNING_OPTS_KEY."""

    url: str = Field(default="https://opts-api.spawningaiapi.com/api/v2/query/urls", pattern="^https?://")
    batch: int = Field(default=1000, ge=2, le=1000)  # addresses a request
    pause: float = Field(default=1, ge=0)  # seconds between two requests of a worker
    retries: int = Field(default=2, ge=0, le=10)


class Consent(Section):
    """Who may say no: signals that are heeded, where those that do not come with the page are asked, and lists."""

    signals: list[_SignalName] = []
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
    lists: list[Readable] = []  # addresses and hosts: Parquet, CSV, or one a line
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
