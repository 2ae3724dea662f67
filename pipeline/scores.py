"""Documents in; the same with what models say of their text out, as columns that rules can be held against later."""

from functools import cache
from typing import TYPE_CHECKING

from filters.language import Language
from filters.perplexity import KenLM, Trigram
from pipeline.judge import document_text
from pipeline.work import Work

if TYPE_CHECKING:
    from pipeline.config import KenLMFiles, LanguageScore, TextScores


def score_texts(work: Work, settings: "TextScores") -> None:
    """Asks each configured model once a document. A threshold that changes later asks nobody again."""
    language = _language(settings.language)
    perplexity = _perplexity(settings.perplexity)
    for document in work.documents():
        text = document_text(document)
        if language is not None:
            document.language, document.language_score = language.identify(text)
        if perplexity is not None:
            document.scores["perplexity"] = perplexity.score(text)
        work.keep(document)


@cache
def _language(asked: "LanguageScore | None") -> Language | None:
    """The model, loaded once a process."""
    return None if asked is None else Language(asked.max_characters)


@cache
def _perplexity(asked: "KenLMFiles | str | None") -> KenLM | Trigram | None:
    """The configured model, loaded once a process."""
    if asked is None:
        return None
    return Trigram() if isinstance(asked, str) else KenLM(asked.model, asked.tokenizer)
