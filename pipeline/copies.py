"""A file on a store in; a copy of it on this machine to read, or one to write that goes there whole, out. A file of this
machine is its own copy."""

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.places import at_once, download, on_store, scratch, size_of, upload


@contextmanager
def here(path: Path) -> Iterator[Path]:
    """The file itself, or a copy on this machine for as long as it is needed."""
    if not on_store(path):
        yield path
        return
    with _temporary(path.name) as copy:
        download(path, copy)
        yield copy


def folder_here(files: Sequence[Path]) -> Path:
    """The folder of these files, or one on this machine with copies of them, for as long as the run: of all processes that
    want it one makes it."""
    if not on_store(files[0]):
        return files[0].parent
    name = hashlib.sha256("\n".join(map(str, files)).encode()).hexdigest()[:16]
    folder = scratch() / f".{name}.copy.tmp"
    with (scratch() / f".{name}.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            aside = folder.with_name(f".{name}.{os.getpid()}.tmp")
            aside.mkdir()
            at_once(lambda file: download(file, aside / file.name), files)
            aside.rename(folder)
    return folder


@contextmanager
def going_to(path: Path) -> Iterator[Path]:
    """A file of this machine to write to; at the end it is put on the store, whole."""
    with _temporary(path.name) as file:
        yield file
        upload(file, path)


@contextmanager
def kept_at(path: Path) -> Iterator[Path]:
    """A file that grows and is never whole: itself, or a copy on this machine, which is put back in the end. What a killed
    process left of such a copy here is gone on with."""
    if not on_store(path):
        yield path
        return
    copy = scratch() / "-".join(path.parts[-3:])
    size = size_of(path)
    if size is not None and not (copy.exists() and copy.stat().st_size >= size):
        download(path, copy)
    try:
        yield copy
    finally:
        if copy.exists():
            upload(copy, path)
            copy.unlink()


@contextmanager
def _temporary(name: str) -> Iterator[Path]:
    handle, file = tempfile.mkstemp(".tmp", f".{name[-60:]}.", scratch())
    os.close(handle)
    try:
        yield Path(file)
    finally:
        Path(file).unlink(missing_ok=True)
