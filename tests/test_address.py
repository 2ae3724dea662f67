"""Which address of an image element is taken, and what becomes of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.html.address import (
    MAX_ADDRESS,
    Address,
    Candidate,
    image_address,
    is_placeholder,
    readable_name,
    resolve,
    srcset,
    widest,
)

BASE = "https://example.org/a/b/page.html?q=1"


@pytest.mark.parametrize(
    ("reference", "url"),
    [
        ("x.jpg", "https://example.org/a/b/x.jpg"),
        ("/x y.jpg", "https://example.org/x%20y.jpg"),
        (" \n x.jpg\t", "https://example.org/a/b/x.jpg"),
        ("../../../x", "https://example.org/x"),
        ("./", "https://example.org/a/b/"),
        ("?w=3", "https://example.org/a/b/page.html?w=3"),
        ("//cdn.example.net/x", "https://cdn.example.net/x"),
        ("\\\\cdn.example.net\\x", "https://cdn.example.net/x"),
        ("HTTP://Example.ORG:80/É.jpg?t=é a#top", "http://example.org/%C3%89.jpg?t=%C3%A9%20a"),
        ("https://example.org:8443", "https://example.org:8443/"),
        ("http://bücher.example/x", "http://xn--bcher-kva.example/x"),
        ("a%20b%2fc%zz.jpg", "https://example.org/a/b/a%20b%2fc%zz.jpg"),
        ("image/upload/w_300,h_200/x.jpg", "https://example.org/a/b/image/upload/w_300,h_200/x.jpg"),
        ('q"<>`{}.jpg', "https://example.org/a/b/q%22%3C%3E%60%7B%7D.jpg"),
        ("http://[2001:db8::1]:81/x", "http://[2001:db8::1]:81/x"),
    ],
)
def test_references_are_resolved_as_a_browser_would(reference: str, url: str) -> None:
    assert resolve(BASE, reference) == url


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "#top",
        "ftp://example.org/x",
        "javascript:void(0)",
        "data:image/gif;base64,R0lGOD",
        "blob:https://example.org/1",
        "http://",
        "http://[::1/x",
        "http://user:word@example.org/x",
        "http://example.org:99999/x",
        "http://a..b/x",
        "http://exa mple.org/x",
        "x" * (MAX_ADDRESS + 1),
    ],
)
def test_what_is_no_http_address_is_none(reference: str) -> None:
    assert resolve(BASE, reference) in (None, BASE if reference == "#top" else None)


@given(st.text(max_size=60), st.sampled_from([BASE, "", "http://x", "mailto:a", "https://[", "//"]))
def test_resolving_never_raises_and_gives_ascii(reference: str, base: str) -> None:
    url = resolve(base, reference)
    if url is not None:
        assert url.isascii()
        assert url.startswith(("http://", "https://"))
        assert resolve(base, url) == url


@pytest.mark.parametrize(
    ("value", "candidates"),
    [
        ("a.jpg", [("a.jpg", None, 1.0)]),
        ("a.jpg, b.jpg 2x", [("a.jpg", None, 1.0), ("b.jpg", None, 2.0)]),
        ("a 320w,b 1.5x,\n c 90w 40h", [("a", 320.0, None), ("b", None, 1.5), ("c", 90.0, None)]),
        ("/w_1,h_2/a 100w, /w_3,h_4/b 200w", [("/w_1,h_2/a", 100.0, None), ("/w_3,h_4/b", 200.0, None)]),
        (",, a,, b", [("a", None, 1.0), ("b", None, 1.0)]),
        ("a (x, y) 3w, b 2x, c 4q, d 1x 2w", [("b", None, 2.0)]),
        ("data:,x 1x", [("data:,x", None, 1.0)]),
        ("", []),
        (" , ", []),
    ],
)
def test_a_srcset_is_split_as_the_standard_says(
    value: str, candidates: list[tuple[str, float | None, float | None]]
) -> None:
    assert list(srcset(value)) == [Candidate(*one) for one in candidates]


@pytest.mark.parametrize(
    ("value", "src"),
    [
        ("a 320w, b 1600w, c 1601w", "b"),
        ("b 3000w, a 2000w", "a"),
        ("a, b 2x, c 3x", "b"),
        ("data:image/gif;base64,R0 2000w, a 10w", "a"),
        ("placeholder.png 900w", None),
    ],
)
def test_the_widest_within_the_bound_is_taken(value: str, src: str | None) -> None:
    assert widest(srcset(value), 1600) == src


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"src": "a.jpg"}, ("a.jpg", "src")),
        ({"src": "a.jpg", "data-src": "b.jpg"}, ("a.jpg", "src")),
        ({"src": "a.jpg", "data-src": "b.jpg", "class": "x lazyload"}, ("b.jpg", "data-src")),
        ({"src": "placeholder.gif", "data-src": "b.jpg"}, ("b.jpg", "data-src")),
        ({"src": "/img/1x1.png", "data-original": "b.jpg"}, ("b.jpg", "data-original")),
        ({"src": "data:image/gif;base64,R0lGOD", "data-lazy-src": "b.jpg"}, ("b.jpg", "data-lazy-src")),
        ({"src": "spacer.gif", "data-srcset": "a 100w, b 200w"}, ("b", "data-srcset")),
        ({"src": None, "srcset": "a,1.jpg 100w, b,1.jpg 200w"}, ("b,1.jpg", "srcset")),
        ({"src": "", "src2": "b.jpg"}, ("b.jpg", "src2")),
        ({"src": "w_1,h 2.jpg"}, ("w_1,h 2.jpg", "src")),
        ({"src": "blank.gif"}, None),
        ({"src": "data:image/png;base64,AAAA"}, None),
        ({"alt": "none"}, None),
    ],
)
def test_the_first_usable_attribute_is_taken(
    attributes: dict[str, str | None], expected: tuple[str, str] | None
) -> None:
    found = image_address(attributes, BASE)
    assert (found and (found.src, found.attribute)) == expected


def test_sources_of_a_picture_serve_where_the_image_has_no_address() -> None:
    sources: list[dict[str, str | None]] = [
        {"srcset": "a.avif", "type": "image/avif"},
        {"srcset": "a.webp 400w, b.webp 800w", "type": "image/webp"},
        {"srcset": "a.jpg"},
    ]
    expected = Address("https://example.org/a/b/b.webp", "b.webp", "srcset")
    assert image_address({"src": "data:,"}, BASE, sources) == expected
    own = image_address({"src": "own.jpg"}, BASE, sources)
    assert own is not None
    assert own.src == "own.jpg"


@pytest.mark.parametrize(
    ("src", "is_one"),
    [
        ("placeholder.gif", True),
        ("/img/lazy_placeholder-300x200.png?v=1", True),
        ("1x1.gif", True),
        ("/a/loading.svg", True),
        ("transparent.png#x", True),
        ("about:blank", True),
        ("Red_fox.jpg", False),
        ("google-pixel.png", False),
        ("black-and-white.jpg", False),
        ("/placeholder/fox.jpg", False),
        ("image.png", False),
    ],
)
def test_placeholders_are_told_from_images(src: str, is_one: bool) -> None:
    assert is_placeholder(src) == is_one


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://x.example/img/Red_fox-in%20snow.jpg", "Red fox in snow"),
        ("https://x.example/fox-300x200.jpg?w=1", "fox"),
        ("https://x.example/a/fox@2x.png", "fox"),
        ("https://x.example/a/v1.2_final.webp", "v1.2 final"),
        ("https://x.example/%E7%8B%90.png", "狐"),
        ("https://x.example/%ff%00.png", "\ufffd"),
        ("https://x.example/", ""),
    ],
)
def test_file_names_become_readable(url: str, name: str) -> None:
    assert readable_name(url) == name


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", ["(", "a (,", ",", "a 1w,", " ", "placeholder", "-lazy", "a\t", "1x1-"])
def test_long_values_take_linear_time(piece: str) -> None:
    value = piece * (1_000_000 // len(piece))
    for name in ("src", "srcset", "data-srcset"):
        image_address({name: value}, BASE)
    assert len(list(srcset(value))) <= 1 << 16
