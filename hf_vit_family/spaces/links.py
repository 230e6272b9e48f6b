# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The image behind a visitor's link, fetched within bounds and from public hosts only."""

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from urllib.parse import urljoin

from .addresses import Target, parse_link, public_address, short
from .images import MAX_BYTES

MAX_REDIRECTS = 3
TIME_LIMIT = 10.0  # seconds, for everything together
_REDIRECTS = (301, 302, 303, 307, 308)
_PIECE = 1 << 16


class _Late(Exception):
    """The time is over."""


def fetch_image(link: str) -> bytes:
    """What a link leads to, if it may be an image.

    The host's name is resolved once, every address it has must be public, and the connection goes to the address that
    was checked; so for each redirect. The visitor's browser, cookies and proxies have no part in it.

    Args:
        link: an http or https address on port 80, 443 or 8080.

    Returns:
        At most 30 MB, not yet decoded: `open_image` tells whether it is an image.

    Raises:
        ValueError: one sentence: no such link, a private host, too many redirects, an error of the host, too large, too
            slow, or stated to be something else than an image.
    """
    deadline = time.monotonic() + TIME_LIMIT
    for _ in range(MAX_REDIRECTS + 1):
        target = parse_link(link)
        try:
            answer = _get(target, deadline)
        except _Late:
            raise ValueError(
                f"{short(target.host)} took longer than {TIME_LIMIT:g} seconds to send the image."
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise ValueError(f"{short(target.host)} cannot be reached ({type(error).__name__}).") from None
        if isinstance(answer, bytes):
            return answer
        try:
            link = urljoin(link.strip(), answer)
        except ValueError:
            raise ValueError(f"{short(target.host)} redirects to {short(answer)}, which is no link.") from None
    raise ValueError(f"The link leads through more than {MAX_REDIRECTS} redirects.")


def _get(target: Target, deadline: float) -> bytes | str:
    """The content, or where a redirect leads."""
    address = public_address(target, _left(deadline))
    with _connection(target, address, deadline) as connection:
        headers = {"User-Agent": "hf-vit-family-space", "Accept": "image/*", "Accept-Encoding": "identity"}
        connection.putrequest("GET", target.path, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", target.authority)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        with connection.getresponse() as answer:
            if answer.status in _REDIRECTS and answer.headers.get("Location"):
                return answer.headers["Location"]
            _check_headers(target, answer)
            return _read(target, answer, deadline)


@contextlib.contextmanager
def _connection(target: Target, address: str, deadline: float) -> Iterator[http.client.HTTPConnection]:
    """An open connection to the address, cut when the time is over, whatever the host does until then."""
    over = threading.Event()
    sockets: list[socket.socket] = []

    def cut() -> None:
        over.set()
        with contextlib.suppress(OSError):
            socket.socket.shutdown(sockets[-1], socket.SHUT_RDWR)  # under TLS too: no farewell that could block

    timer = threading.Timer(_left(deadline), cut)
    timer.daemon = True
    connection = http.client.HTTPConnection(target.host, target.port)
    try:
        sockets.append(socket.create_connection((address, target.port), timeout=_left(deadline)))
        timer.start()
        if target.scheme == "https":
            context = ssl.create_default_context()
            sockets.append(context.wrap_socket(sockets[0], server_hostname=target.host))
        connection.sock = sockets[-1]
        yield connection
    except TimeoutError:
        raise _Late from None
    except (OSError, http.client.HTTPException):
        if over.is_set():
            raise _Late from None
        raise
    finally:
        timer.cancel()
        connection.close()
        for opened in sockets:
            opened.close()


def _check_headers(target: Target, answer: http.client.HTTPResponse) -> None:
    host = short(target.host)
    if answer.status != 200:
        raise ValueError(f"{host} answered with status {answer.status} instead of an image.")
    kind = answer.headers.get_content_type() if "Content-Type" in answer.headers else "image/*"
    if not kind.startswith("image/") and kind not in ("application/octet-stream", "binary/octet-stream"):
        raise ValueError(f"The link leads to {short(kind)}; expected an image.")
    if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ValueError(f"{host} sent a compressed answer that was not asked for; expected a plain image file.")
    if answer.length is not None and answer.length > MAX_BYTES:
        raise ValueError(
            f"The link leads to {answer.length / 1e6:,.1f} MB; expected at most {MAX_BYTES // 1_000_000} MB."
        )


def _read(target: Target, answer: http.client.HTTPResponse, deadline: float) -> bytes:
    expected, data = answer.length, bytearray()
    while piece := answer.read1(_PIECE):
        data += piece
        if len(data) > MAX_BYTES:
            raise ValueError(f"The link leads to more than {MAX_BYTES // 1_000_000} MB; expected at most that.")
        _left(deadline)
    _left(deadline)
    if expected is not None and len(data) < expected:
        raise ValueError(f"{short(target.host)} broke off after {len(data):,} of {expected:,} bytes.")
    return bytes(data)


def _left(deadline: float) -> float:
    """Seconds until the deadline."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise _Late
    return left
