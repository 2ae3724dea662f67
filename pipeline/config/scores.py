"""How pages are read and what models are asked about their texts: the settings under `extract` and `scores`."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from filters.language import MAX_CHARACTERS, PIECES, Language
from filters.perplexity import KenLM, Trigram
from pipeline.config.section import Bytes, Section


class Extract(Section):
    method: Literal["main", "obelics", "trafilatura"] = "main"
    max_page: Bytes = 5 * 10**6  # bytes of a page's body; what lies beyond is not read
    seconds: float = Field(default=10, gt=0)  # that one page may take; a slower one is dropped
    inline_images: Bytes | None = None  # up to so many bytes an image inside of its address (data:) is kept; none: not


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
