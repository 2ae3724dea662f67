"""What is read: the settings under `input`."""

from typing import Any, Self

from pydantic import Field, model_validator

from pipeline.config.section import Agent, Bytes, Section


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
