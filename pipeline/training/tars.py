"""WebDataset tars in; pairs of an image and its caption out."""

from pipeline.training.config import Data, Source


class Tars:
    units = 0

    @classmethod
    def found(cls, source: Source, settings: Data, prefix: str) -> "Tars":
        raise NotImplementedError
