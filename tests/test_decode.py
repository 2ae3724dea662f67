"""Pages are read in the charset they are in, whatever they declare."""

import codecs
import re
from pathlib import Path

import pytest
from ftfy.fixes import decode_inconsistent_utf8
from hypothesis import given
from hypothesis import strategies as st

from pipeline import warc
from pipeline.html.decode import CODECS, ENCODED_TWICE, decode, recoded

GERMAN = "<p>Die Größe der Bäume überraschte uns – „schön“, sagte Käthe, für 5 €.</p>"
RUSSIAN = "<p>Лиса пробежала по снегу и скрылась за старой мельницей у реки.</p>"
JAPANESE = "<p>きつねは雪の上を走って、古い水車の向こうに消えました。あしあとが残っています。</p>"
CHINESE = "<p>狐狸在雪地上跑过，消失在河边的旧水车后面。这是一个寒冷的早晨，他们都不在家。</p>"
TAIWANESE = "<p>狐狸在雪地上跑過，消失在河邊的舊水車後面。這是一個寒冷的早晨，他們都不在家。</p>"
KOREAN = "<p>여우는 눈 위를 달려 강가의 오래된 물레방아 뒤로 사라졌다. 이것은 추운 아침의 이야기이다.</p>"
GREEK = "<p>Η αλεπού έτρεξε πάνω στο χιόνι και χάθηκε πίσω από τον παλιό μύλο.</p>"

WRITTEN = [
    (GERMAN, "cp1252", "iso-8859-1"),
    (GERMAN, "cp1252", "windows-1252"),
    (RUSSIAN, "cp1251", "windows-1251"),
    (RUSSIAN, "koi8_r", "KOI8-R"),
    (JAPANESE, "cp932", "Shift_JIS"),
    (JAPANESE, "euc_jp", "euc-jp"),
    (JAPANESE, "iso2022_jp", "iso-2022-jp"),
    (CHINESE, "gbk", "gb2312"),
    (TAIWANESE, "big5", "big5"),
    (KOREAN, "cp949", "euc-kr"),
    (GREEK, "cp1253", "windows-1253"),
]


@pytest.mark.parametrize(("text", "codec", "label"), WRITTEN)
def test_the_header_the_meta_element_and_detection_each_suffice(text: str, codec: str, label: str) -> None:
    body = text.encode(codec)
    assert decode(body, f'text/html; charset="{label}"') == text
    meta = f'<meta http-equiv=Content-Type content="text/html; charset={label}">'
    assert decode(meta.encode() + body, "text/html") == meta + text
    declaration = f'<?xml version="1.0" encoding="{label}"?>'
    assert decode(declaration.encode() + body, "") == declaration + text
    assert decode(body, "text/html") == text


@given(
    st.lists(st.sampled_from([*(bytes([byte]) for byte in range(0x7E, 0x100)), b"\xed\xa0\x80", b"\xf4\x90\x80\x80"]))
)
def test_what_is_valid_utf8_is_read_as_such_and_handed_on_as_it_is(pieces: list[bytes]) -> None:
    body = b"".join(pieces)
    try:
        text = body.decode()
    except UnicodeDecodeError:
        assert recoded(body, "").decode() == decode(body, "")
        return
    if not ENCODED_TWICE.search(body) and not body.startswith(codecs.BOM_UTF8):
        assert recoded(body, "text/html; charset=latin1") is body
        assert decode(body, "text/html; charset=latin1") == text


@given(st.lists(st.sampled_from([*"aé|<\n Ã©Âââ€™đšπ", "Ã¼", "â€œ", "Ð»Ð¸", "Ä\x8d", "\xa0"]), min_size=1, max_size=40))
def test_what_was_encoded_twice_is_mended_in_stretches_as_in_the_whole(pieces: list[str]) -> None:
    text = "<p>" + "".join(pieces)
    mended = decode_inconsistent_utf8(text) if ENCODED_TWICE.search(text.encode()) else text
    assert decode(text.encode(), "") == mended


@pytest.mark.parametrize("text", [text for text, _, _ in WRITTEN])
@pytest.mark.parametrize("label", ["iso-8859-1", "gb2312", "shift_jis", "utf-8", "utf-16", "none such", ""])
def test_utf8_is_utf8_whatever_is_declared(text: str, label: str) -> None:
    assert decode(text.encode(), f"text/html; charset={label}") == text


@pytest.mark.parametrize("wrong", ["cp1252", "latin-1"])
def test_what_a_server_encoded_twice_is_mended_and_what_stands_beside_it_stays(wrong: str) -> None:
    twice = "Die Bäume – „schön“".encode().decode(wrong, "ignore")
    assert twice != "Die Bäume – „schön“"
    body = (GERMAN + "<p>" + twice + "</p>").encode()
    text = decode(body, "text/html; charset=utf-8")
    assert text.startswith(GERMAN)
    assert "Bäume – " in text
    assert "sch\xf6n" in text.removeprefix(GERMAN)


@pytest.mark.parametrize(
    "text", ["SÃO PAULO – AÇÃO", "pâté, château", "Â", "12 °C ± 3", "naïve café", "VOIR L’ÂGE « D’OR »"]
)
def test_letters_that_look_like_the_beginning_of_it_are_left(text: str) -> None:
    assert decode(text.encode(), "text/html; charset=utf-8") == text


def test_windows_1252_that_says_utf8_is_read_as_what_it_is() -> None:
    text = GERMAN * 3
    assert decode(text.encode("cp1252"), "text/html; charset=utf-8") == text


def test_one_bad_byte_in_utf8_costs_one_character() -> None:
    body = (GERMAN * 20).encode() + b"\xe9 end"
    assert decode(body, "text/html; charset=utf-8") == GERMAN * 20 + "\ufffd end"
    assert decode(body, "text/html") == GERMAN * 20 + "\ufffd end"


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_byte_order_marks_and_wide_characters_are_seen(codec: str) -> None:
    text = "<html><head><title>Fox</title></head><body>A fox, ein Füchslein, 狐</body></html>"
    assert decode(text.encode(codec), "text/html; charset=windows-1252") == text


def test_a_declaration_in_a_comment_does_not_count() -> None:
    body = b'<!-- <meta charset="koi8-r"> --><meta charset="windows-1251">' + RUSSIAN.encode("cp1251")
    assert RUSSIAN in decode(body, "")


def test_bytes_that_windows_1252_leaves_open_are_kept() -> None:
    assert decode(b"caf\xe9 \x81", "text/html; charset=latin1") == "caf\xe9 \x81"


def test_every_label_names_a_codec_of_this_python() -> None:
    for codec in set(CODECS.values()):
        assert "a".encode(codec).decode(codec) == "a"


@given(st.binary(max_size=300), st.one_of(st.sampled_from(sorted(CODECS)), st.text(max_size=20)))
def test_nothing_raises_and_nuls_and_surrogates_do_not_survive(body: bytes, label: str) -> None:
    for start in (b"", b"\xff\xfe", b"\xfe\xff", b"<meta charset=" + label.encode("utf-8", "replace") + b">"):
        text = decode(start + body, f"text/html; charset={label}")
        assert "\0" not in text
        assert text.encode("utf-8").decode("utf-8") == text


@pytest.mark.material
@pytest.mark.timeout(60)
def test_real_pages_hold_no_more_replacements_than_they_came_with(material: Path) -> None:
    pages = 0
    for item in warc.read(str(material / "pages" / "other-00.warc.gz")):
        if isinstance(item, warc.Record) and item.type == "response":
            pages += 1
            text = decode(item.body, item.content_type)
            assert text.count("\ufffd") - item.body.count("\ufffd".encode()) <= 1
            # Mojibake: UTF-8 that was read as windows-1252.
            assert len(re.findall("Ã[\x80-\xbf]|â€", text)) <= 2 * len(
                re.findall("Ã.|â€", item.body.decode("utf-8", "ignore"))
            )
    assert pages == 150
