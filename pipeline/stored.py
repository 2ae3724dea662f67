"""A file, a place in it and an address in; the record that lies there, as it was written, out."""

import io
from collections.abc import Iterator
from typing import BinaryIO

from pipeline.archive import open_warc
from pipeline.errors import UserError
from pipeline.header import BrokenHeader, read_header, search
from pipeline.members import CHUNK, GZIP, GZIPPED, Damaged, codec_of
from pipeline.warc import READ, chain


def stored_record(path: str, offset: int, url: str) -> Iterator[bytes]:
    """The record of `url` that begins at `offset`, or in the member there, as it was written: its header and block.

    Raises:
        UserError: there is none.
    """
    with open_warc(path) as file:
        codec = codec_of(file)
        file.seek(offset)
        if codec is None and file.read(len(GZIP)) == GZIP:
            codec = GZIPPED  # the file's own first bytes are damaged
        file.seek(offset)
        stream: BinaryIO = io.BufferedReader(chain(file, offset, codec), CHUNK) if codec else file
        try:
            line, _ = search(stream)
            while line:
                copy = _Copied(stream, line)
                header = read_header(copy, line)  # type: ignore[arg-type]
                wanted = header.type in READ and header.url == url
                if wanted:
                    yield bytes(copy.seen)
                left = header.length
                while left and (part := stream.read(min(left, CHUNK))):
                    left -= len(part)
                    if wanted:
                        yield part
                if wanted:
                    return
                line, _ = search(stream)
        except (BrokenHeader, Damaged) as error:
            raise UserError(f"{path}: offset {offset}: no whole record of {url} lies there: {error}") from None
    raise UserError(f"{path}: offset {offset}: no record of {url} lies there")


class _Copied:
    """The lines of a stream, kept as they are read."""

    def __init__(self, stream: BinaryIO, line: bytes) -> None:
        self.stream, self.seen = stream, bytearray(line)

    def readline(self, limit: int) -> bytes:
        line = self.stream.readline(limit)
        self.seen += line
        return line
