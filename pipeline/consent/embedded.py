"""The bytes of an image in; what the metadata in it say of training out: C2PA assertions and PLUS DataMining in XMP."""

from collections.abc import Iterator, Sequence

from pipeline.consent.blocks import read_blocks
from pipeline.consent.c2pa import c2pa_says
from pipeline.consent.finding import Finding, Says
from pipeline.consent.xml import Malformed, walk

PLUS = "http://ns.useplus.org/ldf/xmp/1.0/"
_RESOURCE = "http://www.w3.org/1999/02/22-rdf-syntax-ns# resource"
# PLUS License Data Format 2.0.1, with IPTC Photo Metadata 2023.1; each stands behind PLUS's vocabulary address, or alone.
_ALLOWED = "DMI-ALLOWED"
_UNSPECIFIED = {"DMI-UNSPECIFIED", ""}
_PROHIBITED = "DMI-PROHIBITED"
_CAWG = b".training-mining"


def image_findings(data: bytes, heeded: Sequence[str]) -> Iterator[Finding]:
    """What cannot be read is not checked; where it holds the very word of a refusal all the same, it is refused."""
    wanted = {"iptc", "c2pa"} & set(heeded)
    if not wanted:
        return
    blocks = read_blocks(data)
    if blocks is None:  # another format, whose blocks are not read
        if "iptc" in wanted and _PROHIBITED.encode() in data:
            yield Finding("refused", "iptc", "the bytes of the image", _PROHIBITED)
        if "c2pa" in wanted and _CAWG in data:
            yield Finding("not_checked", "c2pa", "the bytes of the image", "an assertion in a format that is not read")
        return
    if blocks.error:
        for signal in sorted(wanted):
            yield Finding("not_checked", signal, "the image's metadata", blocks.error)
    for packet in blocks.xmp if "iptc" in wanted else ():
        yield from _data_mining(packet)
    for store in blocks.c2pa if "c2pa" in wanted else ():
        try:
            if said := c2pa_says(store):
                yield Finding(said[0], "c2pa", "C2PA manifest", said[1])
        except Malformed as error:
            yield Finding("not_checked", "c2pa", "C2PA manifest", str(error))


def _data_mining(packet: bytes) -> list[Finding]:
    """plus:DataMining, an attribute of a description or an element with text or rdf:resource."""
    values: list[str] = []

    def element(name: str, attributes: dict[str, str], text: str) -> None:
        if name == f"{PLUS} DataMining":
            values.append(attributes.get(_RESOURCE) or text)
        if (value := attributes.get(f"{PLUS} DataMining")) is not None:
            values.append(value)

    where = "XMP plus:DataMining"
    try:
        walk(packet.strip(b"\0 \t\r\n"), element)
    except Malformed as error:
        if _PROHIBITED.encode() in packet:
            return [Finding("refused", "iptc", where, f"{_PROHIBITED} in a damaged packet")]
        return [*_said(values, where), Finding("not_checked", "iptc", where, str(error))]
    return _said(values, where)


def _said(values: list[str], where: str) -> list[Finding]:
    found = []
    for value in values:
        term = value.strip().rpartition("/")[2].upper()
        says: Says = "allowed" if term == _ALLOWED else "refused" if term.startswith(_PROHIBITED) else "not_checked"
        if term not in _UNSPECIFIED:
            found.append(Finding(says, "iptc", where, value.strip()))
    return found
