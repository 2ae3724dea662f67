"""What counts as one page, one paragraph and one image: the settings under `duplicates`."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from pipeline.config.section import Section


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
DISTANCE = {"sha256": 0, "phash": 6, "pdq": 31}


def _advised(given: dict[str, Any]) -> int:
    return DISTANCE.get(given.get("hash", ""), 0)


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
        most = DISTANCE[self.hash] * 2
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
