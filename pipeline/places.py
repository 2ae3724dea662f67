"""The address of a folder, on this machine or on a store, in; a path there, and what stands at it, out.

Whatever fsspec knows is a store: `s3://bucket/x`, `gs://…`, `memory://x`. A path there is pathlib's in shape, but is opened
by nobody: bytes go through the functions here, which ask again what failed. Credentials and endpoints are fsspec's and
each store's own, such as the variables AWS_….
"""

import errno
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pipeline.asking import Denied, Unreachable, said_of
from pipeline.errors import StorageFull, UserError

if TYPE_CHECKING:
    from pipeline.config import Store

T = TypeVar("T")
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
LONGEST = 30.0  # seconds between two tries at most
PIECE = 16 << 20  # bytes of an upload or download that are held in memory at once
AT_ONCE = 4  # pieces of an upload
# What s3fs is told: nothing is taken from a listing that was made before, and botocore does not try again, too.
_S3: dict[str, Any] = {
    "use_listings_cache": False,
    "default_block_size": PIECE,
    "max_concurrency": 1,  # for reading: two calls otherwise, the first for the size
    "config_kwargs": {"retries": {"total_max_attempts": 1}},
}
_NO_PERMISSION = (
    "AccessDenied",
    "Forbidden",
    "credentials",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "Unauthorized",
)
_NO_ROOM = ("InsufficientStorage", "QuotaExceeded", "XMinioStorageFull", "No space left")


class _Here:
    """How this process asks stores, and its folder for what is under way: set by `use`."""

    def __init__(self) -> None:
        self.settings: Store | None = None
        self.folder: Path | None = None


_here = _Here()


def use(settings: "Store", folder: Path) -> None:
    """From now on this process asks stores by these settings, and keeps in `folder` what is not yet there."""
    _here.settings, _here.folder = settings, folder


def leave() -> None:
    """The folder is not this process's any more."""
    _here.folder = None


def _settings() -> "Store":
    if _here.settings is None:
        from pipeline.config import Store

        _here.settings = Store()
    return _here.settings


def scratch() -> Path:
    """A folder of this machine."""
    if _here.folder is None:
        _here.folder = Path(tempfile.gettempdir())
    _here.folder.mkdir(0o700, parents=True, exist_ok=True)
    return _here.folder


def place(address: str | Path) -> Path:
    """The path of an address. One on a store is a UPath, which has the methods of a Path without being one.

    Raises:
        UserError: nothing that is installed knows such addresses.
    """
    if not isinstance(address, str):
        return address
    if "://" not in address:
        return Path(address)
    scheme, _, rest = address.partition("://")
    if scheme in ("file", "local"):
        return Path(rest)
    from upath import UPath

    try:
        found = UPath(address, **(_S3 if scheme in ("s3", "s3a") else {}))
        found.fs  # noqa: B018 - asks for the package that it needs
    except (ImportError, ValueError) as error:
        extra = ": pip install 'carnac[s3]'" if scheme in ("s3", "s3a") else ""
        raise UserError(f"{address}: no such place: {said_of(error)}{extra}") from None
    return cast(Path, found)


def on_store(path: Path) -> bool:
    return not isinstance(path, Path)


def store_of(path: Path) -> tuple[Any, str]:
    """The fsspec file system of a path on a store, and its name there."""
    found: Any = path
    return found.fs, found.path


def patiently(path: object, ask: Callable[[], T]) -> T:
    """What a call to a store gives; made again after a growing pause, with jitter, where it failed.

    Raises:
        FileNotFoundError, FileExistsError: as the store says.
        Denied, StorageFull: at once.
        Unreachable: after all tries.
    """
    how = _settings()
    for tries in range(how.retries + 1):
        try:
            return ask()
        except (FileNotFoundError, FileExistsError, UserError, TypeError, AttributeError):
            raise
        except Exception as error:  # each store has errors of its own; none of them is a mistake of the caller
            said = said_of(error)
            if isinstance(error, PermissionError) or any(sign in said for sign in _NO_PERMISSION):
                raise Denied(f"{path}: no permission: {said}") from None
            if getattr(error, "errno", None) in FULL or any(sign in said for sign in _NO_ROOM):
                raise full(path, said) from None
            if tries == how.retries:
                raise Unreachable(f"{path}: the store does not do it: {said} (asked {tries + 1} times)") from None
            time.sleep(min(LONGEST, how.back_off * 2**tries) * random.uniform(0.5, 1))
    raise AssertionError


def full(path: object, said: str) -> StorageFull:
    return StorageFull(f"{path}: {said}; what was finished is kept: make room, run again")


def at_once(task: Callable[[T], Any], things: Iterable[T]) -> list[Any]:
    """Several calls side by side; what they give, in the order of the things."""
    with ThreadPoolExecutor(_settings().at_once, thread_name_prefix="carnac-store") as pool:
        return list(pool.map(task, things))


def read_bytes(path: Path, start: int | None = None, end: int | None = None) -> bytes:
    """A file, or a stretch of it. Raises FileNotFoundError, and as `patiently`."""
    if not on_store(path):
        with path.open("rb") as file:
            return file.read() if start is None or end is None else os.pread(file.fileno(), end - start, start)
    store, name = store_of(path)
    found: bytes = patiently(path, lambda: store.cat_file(name, start=start, end=end))
    return found


def read_each(paths: Iterable[Path]) -> list[bytes | None]:
    """Small files, several at once; none for one that is not there."""

    def read(path: Path) -> bytes | None:
        with suppress(FileNotFoundError):
            return read_bytes(path)
        return None

    return at_once(read, paths)


def entries(folder: Path) -> list[Path]:
    """What stands in a folder, as it is listed; nothing where there is none."""
    try:
        if not on_store(folder):
            return list(folder.iterdir())
        store, name = store_of(folder)
        found = patiently(folder, lambda: store.ls(name, detail=False))
        return [folder / str(path).rstrip("/").rpartition("/")[2] for path in found]
    except FileNotFoundError:
        return []


def size_of(path: Path) -> int | None:
    """Bytes of a file; none where there is none."""
    try:
        if not on_store(path):
            return path.stat().st_size
        store, name = store_of(path)
        return int(patiently(path, lambda: store.info(name))["size"])
    except FileNotFoundError:
        return None


def upload(file: Path, path: Path) -> None:
    """Puts a file of this machine on a store, whole."""
    store, name = store_of(path)
    pieces = {"chunksize": PIECE, "max_concurrency": AT_ONCE} if _is_s3(store) else {}
    _put(path, lambda: store.put_file(str(file), name, **pieces))


def write_bytes(path: Path, data: bytes) -> None:
    """Puts a small file on a store, whole."""
    store, name = store_of(path)
    _put(path, lambda: store.pipe_file(name, data))


def _put(path: Path, put: Callable[[], Any]) -> None:
    try:
        patiently(path, put)
    except FileNotFoundError:
        store, name = store_of(path)
        if _is_s3(store):
            raise Denied(f"{path}: there is no such bucket") from None
        patiently(path, lambda: store.makedirs(name.rpartition("/")[0], exist_ok=True))  # of a store with real folders
        patiently(path, put)


def _is_s3(store: Any) -> bool:
    return "s3" in store.protocol


def download(path: Path, file: Path) -> None:
    """Copies a file from a store to this machine. Raises FileNotFoundError, and as `patiently`."""
    store, name = store_of(path)
    try:
        patiently(path, lambda: store.get_file(name, str(file)))
    except BaseException:
        file.unlink(missing_ok=True)
        raise


def copy(source: Path, target: Path) -> None:
    """Has a store copy a file of its own."""
    store, name = store_of(source)
    patiently(target, lambda: store.cp_file(name, store_of(target)[1]))


def make_folder(path: Path) -> None:
    """Stores have no folders that would have to be made."""
    if not on_store(path):
        path.mkdir(parents=True, exist_ok=True)


def sizes(folder: Path) -> dict[str, int]:
    """What a store lists in a folder and below, by name in it, with sizes. A listing may lack what was just written."""
    store, name = store_of(folder)
    try:
        found = patiently(folder, lambda: store.find(name, detail=True))
    except FileNotFoundError:
        return {}
    prefix = name.rstrip("/") + "/"
    return {file.removeprefix(prefix): int(about["size"]) for file, about in found.items() if file.startswith(prefix)}


def remove(paths: Iterable[Path]) -> None:
    """Removes files, some of which may not be there."""
    every = list(paths)
    for path in every:
        if not on_store(path):
            path.unlink(missing_ok=True)
    stored = [path for path in every if on_store(path)]
    if not stored:
        return
    store, _ = store_of(stored[0])
    if _is_s3(store):  # a thousand with one call; what is not there is no error
        for start in range(0, len(stored), 1000):
            names = [store_of(path)[1] for path in stored[start : start + 1000]]
            patiently(stored[start], partial(store.rm, names))
        return

    def forget(path: Path) -> None:
        with suppress(FileNotFoundError):
            patiently(path, lambda: store.rm_file(store_of(path)[1]))

    at_once(forget, stored)


def remove_folder(folder: Path) -> None:
    """Removes a folder with all that is in it."""
    if on_store(folder):
        remove(folder / name for name in sizes(folder))
    else:
        shutil.rmtree(folder, ignore_errors=True)
