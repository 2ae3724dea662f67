"""The address of a file or folder on S3 or another store in; an address to ask over HTTP, a file system, or its files out."""

from functools import lru_cache
from typing import Any

from pipeline.asking import Denied, said_of, scheme, settings
from pipeline.errors import UserError


def store_of(address: str) -> tuple[Any, str]:
    """The fsspec file system of an address and the path in it."""
    import fsspec

    try:
        found: tuple[Any, str] = fsspec.core.url_to_fs(address)
    except (ValueError, ImportError) as error:
        raise UserError(f"{address}: cannot be read: {said_of(error)}") from None
    return found


def listed(address: str) -> list[str]:
    """The files on S3 or an fsspec store below a folder or by a glob; an address of one file alone is not listed."""
    import fnmatch

    if scheme(address) != "s3":
        store, path = store_of(address)
        found = store.glob(path) if "*" in path else store.find(path)
        return [store.unstrip_protocol(file) for file in found]
    bucket, key = _bucket(address)
    prefix = key[: key.index("*")] if "*" in key else key.rstrip("/") + "/" if key else ""
    import botocore.exceptions

    try:
        pages = _s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        keys = [found["Key"] for page in pages for found in page.get("Contents", [])]
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
        raise Denied(f"{address}: cannot be listed: {said_of(error)}") from None
    return [f"s3://{bucket}/{found}" for found in keys if "*" not in key or fnmatch.fnmatchcase(found, key)]


def signed(address: str) -> str:
    import botocore.exceptions

    bucket, key = _bucket(address)
    try:
        url: str = _s3().generate_presigned_url("get_object", {"Bucket": bucket, "Key": key}, ExpiresIn=3600)
    except botocore.exceptions.BotoCoreError as error:
        said = said_of(error)
        raise Denied(f"{address}: {said}; set AWS's usual variables, or input.fetch.anonymous: true") from None
    return url


def _s3() -> Any:
    how = settings()
    return _client(how.endpoint, how.region, how.anonymous)


@lru_cache(maxsize=4)
def _client(endpoint: str | None, region: str, anonymous: bool) -> Any:
    try:
        import botocore
        import botocore.session
        from botocore.config import Config
    except ImportError:
        raise UserError("s3:// needs botocore: pip install 'carnac[s3]'") from None
    signature = botocore.UNSIGNED if anonymous else "s3v4"
    config = Config(signature_version=signature, retries={"total_max_attempts": 4}, s3={"addressing_style": "auto"})
    return botocore.session.get_session().create_client("s3", region, endpoint_url=endpoint, config=config)


def _bucket(address: str) -> tuple[str, str]:
    bucket, _, key = address.partition("://")[2].partition("/")
    return bucket, key
