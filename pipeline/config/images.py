"""Where images come from, how their hosts are asked and what models say of them: the settings under `images`."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from pipeline.config.consent import Consent
from pipeline.config.section import Agent, Bytes, Network, Section

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
    allowed_networks: list[Network] = []  # private ones that may be asked: 10.1.0.0/16
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
