"""How long an S3 server may be away: what s3fs does when a request fails.

s3fs repeats a request `retries` times, after pauses that grow to 15 s, where it takes the failure for a passing one. It is told
here what else is one. botocore would repeat each of these once more by rules of its own, with a budget that all requests share
and that is used up where many fail at once (measured: sixteen readers gave up after 17 s); so it tries once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

SCHEMES = ("s3", "s3a")
_ATTEMPTS = 15  # with the pauses between them about 90 s
_ONCE = {"retries": {"total_max_attempts": 1, "mode": "standard"}}
_AS_OF_NOW = {
    "use_listings_cache": False
}  # else s3fs answers from what it listed, of files that changed since
_PASSING = ("SlowDown", "RequestTimeout", "Throttling", "429")  # and every status from 500 on
_REPEAT_WARNING = 30.0  # seconds between two lines about it
_log = logging.getLogger(__name__)
_warned = [-_REPEAT_WARNING]


def with_defaults(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of an S3 file system; what they say holds."""
    return {**_AS_OF_NOW, **options, "config_kwargs": _ONCE | options.get("config_kwargs", {})}


def be_patient(fs: Any) -> None:
    """Have a file system repeat what fails while the server is busy or away."""
    from s3fs.core import set_custom_error_handler

    fs.retries = _ATTEMPTS
    set_custom_error_handler(_passes)


def _passes(error: Exception) -> bool:
    """Tell whether a failure may pass, and say that it is waited for."""
    from botocore.exceptions import ClientError, ConnectionError

    what = str(error)
    if isinstance(error, ClientError):
        what = str(error.response.get("Error", {}).get("Code", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        passes = what in _PASSING or status >= 500
    else:
        passes = isinstance(error, ConnectionError)
    if passes and time.monotonic() - _warned[0] > _REPEAT_WARNING:
        _warned[0] = time.monotonic()
        _log.warning("the object store does not serve (%s): trying again for about 90 s", what)
    return passes
