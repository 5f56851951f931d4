"""What every HTTP answer of ours shares: limits, the error body, the guard of a local port."""

from __future__ import annotations

import functools
import re
from typing import Any, Iterable, Mapping, NamedTuple

from preflight.wire.codes import CODES, ErrorCode

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8421

#: Defaults of the request limits (contract, section 5).
MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_TEXTS = 2048

#: The media type of raw little-endian float32 rows.
OCTET_STREAM = "application/octet-stream"

#: Every answer of a supervised sidecar carries its launch's nonce in this header. A port
#: freed by a dead sidecar may be anyone's a moment later: an answer without it is not ours.
NONCE_HEADER = "X-Sidecar-Nonce"

#: Seconds that a caller gives a request; after them it is answered with TIMEOUT.
TIMEOUT_HEADER = "X-Request-Timeout"
MIN_TIMEOUT_S = 1
MAX_TIMEOUT_S = 3600

_HOST = re.compile(r"(?:\[(?P<address>[^\]]*)\]|(?P<name>[^:\[\]]*))(?::[0-9]*)?")

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    421: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "unavailable_error",
    504: "timeout_error",
}


def status_of(code: ErrorCode) -> int:
    """HTTP status that carries ``code``; 500 for a code that has none of its own."""
    return CODES[code].status or 500


def error_body(
    code: ErrorCode,
    message: str,
    *,
    hint: str = "",
    param: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the JSON body of an error answer (contract, section 5)."""
    info = CODES[code]
    return {
        "error": {
            "code": code.value,
            "message": message,
            "type": _TYPES.get(status_of(code), "server_error"),
            "param": param,
            "hint": hint,
            "retryable": info.retryable,
            "details": dict(details or {}),
        }
    }


class Refusal(NamedTuple):
    """Why a request is not let in."""

    code: ErrorCode
    message: str
    hint: str


def refuse(
    method: str,
    headers: Mapping[str, str],
    *,
    allowed_hosts: Iterable[str] = (),
    allowed_origins: Iterable[str] = (),
    token: str | None = None,
    has_body: bool = True,
) -> Refusal | None:
    """Judge a request by its headers alone; None lets it in.

    A page in a browser may reach any loopback port: by a rebound name (its GET
    carries neither Origin nor Sec-Fetch-Site, so only the Host check stops it),
    or by a cross-site POST of a type that needs no permission. ``token`` is
    given where the call needs one. ``has_body``: false where there is nothing
    to declare a type for. ``headers`` maps names in any case; ``allowed_hosts``
    are names without port, in lower case. Our own page calls from the origin
    that the Host header names.
    """
    host = headers.get("Host", "")
    if not _is_loopback(host) and _host_name(host).lower() not in allowed_hosts:
        return Refusal(
            ErrorCode.HOST_FORBIDDEN,
            f"Host header: wanted a loopback name such as 127.0.0.1, found {host[:100]!r}.",
            "Call the address that supervisor:ready gives.",
        )
    origin = headers.get("Origin")
    if origin is not None and origin != f"http://{host}" and origin not in allowed_origins:
        return Refusal(
            ErrorCode.ORIGIN_FORBIDDEN,
            f"Origin {origin[:100]!r} is not allowed.",
            "Start the supervisor with --allow-origin ORIGIN if this page is yours.",
        )
    site = headers.get("Sec-Fetch-Site")
    if site in {"cross-site", "same-site"} and origin is None:
        return Refusal(
            ErrorCode.ORIGIN_FORBIDDEN,
            "A web page of another site may not call this port.",
            "Start the supervisor with --allow-origin ORIGIN if this page is yours.",
        )
    if token is not None and not _bearer_equals(headers.get("Authorization", ""), token):
        return Refusal(
            ErrorCode.UNAUTHORIZED,
            "Wanted 'Authorization: Bearer TOKEN' with this instance's token.",
            "Use the token from supervisor:ready, or the one the host set.",
        )
    if method == "POST" and has_body:
        return _refuse_media(headers)
    return None


def _refuse_media(headers: Mapping[str, str]) -> Refusal | None:
    """Judge what a body is declared to be. An encoded one is refused: a few bytes of gzip can be gigabytes."""
    declared = headers.get("Content-Type", "")
    if not _is_json(declared):
        return Refusal(
            ErrorCode.UNSUPPORTED_MEDIA_TYPE,
            f"Content-Type: wanted application/json, found {declared[:100]!r}.",
            "Declare the body as application/json.",
        )
    encoding = headers.get("Content-Encoding", "identity")
    if encoding.strip().lower() != "identity":
        return Refusal(
            ErrorCode.UNSUPPORTED_MEDIA_TYPE,
            f"Content-Encoding: wanted none, found {encoding[:100]!r}.",
            "Send the body as it is, without compression.",
        )
    return None


def _host_name(host: str) -> str:
    """Host header without its port: ``[::1]:80`` -> ``::1``; empty where it is neither a name nor name:port."""
    match = _HOST.fullmatch(host)
    return (match["address"] or match["name"] or "") if match else ""


@functools.lru_cache(maxsize=64)  # a header has one of few values, and parsing an address is slow
def _is_loopback(host: str) -> bool:
    name = _host_name(host).lower()
    if name in {"localhost", "localhost."}:
        return True
    import ipaddress  # set-up and reports need the constants of this module alone

    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _bearer_equals(header: str, token: str) -> bool:
    import hmac  # loads OpenSSL: see _is_loopback

    scheme, _, given = header.partition(" ")
    matches = hmac.compare_digest(given.strip().encode("utf-8", "replace"), token.encode("utf-8"))
    return scheme.lower() == "bearer" and matches


def _is_json(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == "application/json"
