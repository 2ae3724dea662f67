"""Rules by what they judge: the settings under `text`, `score_rules`, `image_rules` and `final`."""

from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator

from pipeline.config.section import Section
from pipeline.rules import Rules, check


def _rules_of(room: str) -> Callable[[Rules], Rules]:
    def checked(named: Rules) -> Rules:
        check(named, room)
        return named

    return checked


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
