"""A WARC or ARC file, or a part of one, in; its records with decoded bodies out, and a note of every stretch lost."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import BinaryIO, NamedTuple

from pipeline import payload
from pipeline.archive import base_name, open_warc
from pipeline.errors import UserError
from pipeline.header import (
    BrokenHeader,
    CutHeader,
    Header,
    opens_record,
    read_header,
    record_line,
    search,
)
from pipeline.members import (
    CHUNK,
    GZIP,
    GZIPPED,
    Codec,
    Damaged,
    Held,
    Member,
    border,
    codec_of,
    next_member,
    opening,
    past_skippable,
)
from pipeline.remote import BLOCK

MAX_BODY = 32 << 20  # bytes of a decoded body that are kept
MAX_BLOCK = 64 << 20  # bytes of a record that are held in memory; Common Crawl cuts payloads at 1 or 5 MiB
READ = ("response", "resource", "revisit")  # the types whose block is read


@dataclass(slots=True)
class Record:
    """One record. `offset` and `length` are the bytes it takes in the file, compressed, as Common Crawl's pointers;
    `length` is 0 where several records share a gzip member, so that no pointer can name one of them."""

    type: str  # "response", "resource", "request", … in lower case
    url: str
    date: datetime  # UTC, to the second; UNKNOWN_DATE where it cannot be read
    filename: str  # base name of the file
    offset: int
    length: int
    status: int | None = None  # HTTP status
    headers: list[tuple[str, str]] = field(default_factory=list)  # HTTP headers as written
    content_type: str = ""
    body: bytes = b""  # of a response or resource, transfer- and content-encoding undone; otherwise empty
    truncated: bool = False  # the crawler, a cap or damage within cut the body short
    fields: dict[str, str] = field(default_factory=dict)  # of the record's own header, names in lower case
    block: bytes | memoryview = b""  # of a response, resource or revisit, as stored
    payload_at: int = 0  # where the payload begins in the block
    whole: bool = True  # the block is as long as Content-Length says


class Damage(NamedTuple):
    """`length` bytes of the file from `offset` on gave no record; about `records` were lost with them."""

    offset: int
    length: int
    reason: str
    records: int = 1


def read(path: str, max_body: int = MAX_BODY, start: int = 0, end: int | None = None) -> Iterator[Record | Damage]:
    """The records of a file in their order, compressed by record, whole or not at all.

    A damaged stretch costs the records it touches and is reported; so is a file that holds no record at all. Of `start`
    and `end`, anywhere in the file, each stands for the first member border at or after it: parts of a file that meet
    give together what the whole gives. A file without borders is given whole by the part that begins at 0.

    Raises:
        UserError: the file cannot be opened.
    """
    with open_warc(path, (start, end)) as file:
        yield from _estimated(_read(file, base_name(path), max_body, start, end), start)


def read_at(path: str, offset: int, length: int, max_body: int = MAX_BODY) -> Record:
    """The one record that a pointer names. Raises UserError where there is none."""
    [item] = read_places(path, [(offset, length)], 0, max_body)
    if isinstance(item, Damage):
        raise UserError(f"{path}: offset {offset}, length {length}: {item.reason}")
    return item


def read_places(
    path: str, places: Sequence[tuple[int, int]], gap: int, max_body: int = MAX_BODY
) -> Iterator[Record | Damage]:
    """The records that pointers name, offset and length, in their order; a damage where there is none. Pointers in the order
    of the file that are less than `gap` bytes apart are read together.

    Raises:
        UserError: the file cannot be opened.
    """
    name = base_name(path)
    for together in _neighbours(places, gap):
        begin, end = together[0][0], max(offset + length for offset, length in together)
        with open_warc(path, (max(begin, 0), max(end, 0))) as file:
            for offset, length in together:
                yield _named(file, name, offset, length, max_body)


def _neighbours(places: Sequence[tuple[int, int]], gap: int) -> Iterator[list[tuple[int, int]]]:
    together: list[tuple[int, int]] = []
    begin = end = 0
    for offset, length in places:
        if together and not (begin <= offset <= end + gap and offset + length - begin <= BLOCK):
            yield together
            together = []
        begin, end = (begin, max(end, offset + length)) if together else (offset, offset + length)
        together.append((offset, length))
    if together:
        yield together


def _named(file: BinaryIO, name: str, offset: int, length: int, max_body: int) -> Record | Damage:
    """The one record that a pointer names, in an open file."""
    if offset < 0 or length <= 0:
        return Damage(offset, length, "names no record; a pointer needs an offset from 0 and a length from 1")
    file.seek(offset)
    part = file.read(min(length, 2 * MAX_BLOCK))
    codec = GZIPPED if part.startswith(GZIP) else codec_of(file)  # a zstd file has its dictionary at its beginning
    for item in _read(io.BytesIO(part), name, max_body, codec=codec):
        if isinstance(item, Damage):
            return Damage(offset, length, f"no whole record lies there: {item.reason}")
        return replace(item, offset=offset, length=length)
    return Damage(offset, length, "no record lies there")


def _estimated(items: Iterator[Record | Damage], start: int) -> Iterator[Record | Damage]:
    """With each damage, how many records it took, by the bytes that those before it take in the mean."""
    count, last = 0, start
    for item in items:
        if isinstance(item, Damage) and count and last > start and item.records:
            yield item._replace(records=max(1, round(item.length * count / (last - start))))
            continue
        if isinstance(item, Record):
            count, last = count + 1, item.offset + item.length
        yield item


def _read(
    file: BinaryIO, name: str, max_body: int, start: int = 0, end: int | None = None, codec: Codec | None = None
) -> Iterator[Record | Damage]:
    found = False
    try:
        codec = codec or codec_of(file)
        if codec is None:
            file.seek(0)
            if not record_line(file) and next_member(file, 0, GZIPPED, opens_record) is not None:
                codec = GZIPPED  # its first bytes are what is damaged
        reading = _plain(file, name, max_body) if codec is None else _members(file, name, codec, max_body, start, end)
        for item in reading if end != 0 and (codec is GZIPPED or start == 0) else ():
            found = True
            yield item
        if not found and start == 0 and end != 0:
            size = file.seek(0, io.SEEK_END)
            yield Damage(0, size, no_warc(file), 0)
    except OSError as error:  # of the disk, or of the ZIP around it
        reason = f"cannot be read further: {' '.join(str(error).split()) or type(error).__name__}"
        yield Damage(start, 0, reason)


def no_warc(file: BinaryIO) -> str:
    """What a file is that holds no record."""
    file.seek(0)
    head = file.read(4)
    if head == b"PK\x03\x04":
        return "is a ZIP: a WACZ is read if it is named *.wacz, any other is to be unpacked"
    return f"is no WARC or ARC file: {'it holds no record header' if head else 'it is empty'}"


def _plain(file: BinaryIO, name: str, max_body: int) -> Iterator[Record | Damage]:
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    line, junk = search(file)
    if line and junk:
        yield Damage(0, junk, "no record header")
    while line:
        inside = file.tell()
        offset = inside - len(line)
        following: bytes | None = None
        try:
            header = read_header(file, line)
            begin = file.tell()
            end = begin + header.length
            if end > size:
                raise BrokenHeader(f"it says {header.length} bytes where the file has {size - begin}")
            file.seek(end)
            following = record_line(file)
            after = file.tell() - len(following or b"")
            junk = 0
            if following is None:
                # A Content-Length that is too large hides the next records: the next header is looked for inside, too.
                following, after = _search_from(file, inside)
                junk = after - end
                if junk < 0:
                    raise BrokenHeader("the next record begins before its Content-Length ends")
            file.seek(begin)
            record = _record(file, header, name, offset, max_body, skip=False)
            record.length = end - offset
            yield record
            if junk:
                yield Damage(end, junk, "bytes that belong to no record", 0)
        except BrokenHeader as error:
            if following is None:
                following, after = _search_from(file, inside)
            yield Damage(offset, after - offset, str(error))
        file.seek(after + len(following))
        line = following


def _search_from(file: BinaryIO, position: int) -> tuple[bytes, int]:
    """The next line that opens a record and where it begins; b"" and the end of the file where there is none."""
    file.seek(position)
    line, _ = search(file)
    return line, file.tell() - len(line)


class _Continued(Exception):
    """The last record of a member goes on in the next."""


def _members(
    file: BinaryIO, name: str, codec: Codec, max_body: int, start: int, end: int | None
) -> Iterator[Record | Damage]:
    stop = size = file.seek(0, io.SEEK_END)
    if end is not None and end < size and codec is GZIPPED:
        found_border = border(file, end, codec, opens_record)
        stop = size if found_border is None else found_border
    at = past_skippable(file, 0, codec) if start == 0 else border(file, start, codec, opens_record)
    found, chained, anywhere, handed, ahead = start > 0, False, False, 0, b""
    while at is not None and at < stop:
        member = chain(file, at, codec) if chained else Member(file, at, codec, ahead=ahead)
        ahead = b""
        try:
            # What was handed on before it was seen that the member goes on is not handed on again.
            for number, item in enumerate(_in_member(member, name, max_body)):
                if number >= handed:
                    found, handed = True, handed + 1
                    yield item
        except _Continued:
            chained = anywhere = True
            continue
        except Damaged as error:
            # Where members are cut anywhere, the next record is looked for inside of them.
            chained, handed = anywhere, 0
            at = next_member(file, member.block + 1, codec, bool if anywhere else opens_record)
            if found or member.opened or at is not None:
                found = True
                yield Damage(member.block, (stop if at is None else min(at, stop)) - member.block, str(error))
        else:
            chained, handed, at = False, 0, member.end
            if member.after.startswith(codec.magic):
                ahead = member.after
                continue
            at = past_skippable(file, at, codec)
            file.seek(at)
            if at < stop and file.read(len(codec.magic)) != codec.magic:
                at = next_member(file, at, codec, opens_record)
                lost = (stop if at is None else min(at, stop)) - member.end
                file.seek(member.end)
                padded = at is None and lost < CHUNK and not file.read(lost).strip(b"\0")  # as tapes are
                if found and lost and not padded:
                    yield Damage(member.end, lost, f"no {codec.name}")


def chain(file: BinaryIO, at: int, codec: Codec) -> Member:
    """The member at `at`, and those after it that go on with its last record."""

    def continues(position: int) -> bool:
        data = opening(file, position, codec)
        return bool(data) and not opens_record(data)

    return Member(file, at, codec, continues)


def _in_member(member: Member, name: str, max_body: int) -> Iterator[Record | Damage]:
    """What a member holds. An item is handed on when what follows it was seen, so that a member of one record hands on
    nothing before its checksum was verified. Raises Damaged and _Continued."""
    stream = member.open()
    line, junk = search(stream)
    several = bool(line and junk) or member.continues is not None
    member.opened = bool(line)
    if junk and (line or member.start):
        yield Damage(member.start, 0 if line else member.end - member.start, "no record header")
    while line:
        record, reason, cut = None, "", False
        try:
            record = _record(stream, read_header(stream, line), name, member.start, max_body)
            cut = not record.whole
        except BrokenHeader as error:
            reason, cut = str(error), isinstance(error, CutHeader)
        line, junk = search(stream)
        if member.continues is None and (cut or (junk and not line)) and _goes_on(member):
            raise _Continued
        several = several or bool(line)
        length = 0 if several else member.end - member.start
        if record:
            record.length = length
        yield record or Damage(member.start, length, reason)
        if record and junk:
            yield Damage(member.start, 0, f"{junk} bytes that belong to no record", 0)


def _goes_on(member: Member) -> bool:
    continues = chain(member.file, member.start, member.codec).continues
    return continues is not None and continues(member.end)


def _record(stream: BinaryIO, header: Header, name: str, offset: int, max_body: int, skip: bool = True) -> Record:
    """Reads the block that follows a header; one that ends early is truncated. Without `skip` it is known to be there."""
    read = header.type in READ
    block: bytes | memoryview = b""
    if read:
        few = min(header.length, MAX_BLOCK)
        block = stream.view(few) if isinstance(stream, Held) else stream.read(few)
    left = header.length - len(block) if skip else 0
    while left and (skipped := len(stream.read(min(left, CHUNK)))):
        left -= skipped
    record = Record(
        header.type, header.url, header.date, name, offset, 0,
        content_type=header.content_type, truncated="warc-truncated" in header.fields,
        fields=header.fields, block=block, whole=not left,
    )  # fmt: skip
    if not read:
        return record
    at = 0
    if bytes(block[:5]).upper() == b"HTTP/" and header.type != "resource":
        http = payload.response(block, max_body)
        record.status, record.headers, record.content_type, at = http.status, http.headers, http.content_type, http.at
        record.body, record.truncated = http.body, record.truncated or http.truncated
    else:
        record.body = bytes(block[:max_body])
    record.payload_at = at
    record.truncated = record.truncated or len(block) < header.length or (not at and len(block) > max_body)
    if header.type == "revisit":
        record.body = b""
    return record
