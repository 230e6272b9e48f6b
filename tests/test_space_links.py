# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Links that strangers give: which hosts are asked, and what is taken from them."""

import io
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from hf_vit_family.spaces import images
from hf_vit_family.spaces.images import MAX_BYTES, fetch_image, is_public, open_image, parse_link, public_address

REAL_LOOKUP = socket.getaddrinfo


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (30, 20), "teal").save(buffer, "PNG")
    return buffer.getvalue()


class Handler(BaseHTTPRequestHandler):
    """Answers with what the test put under a path, and keeps what was asked."""

    pages: dict[str, Callable[["Handler"], None]]
    asked: list[tuple[str, str]]

    def log_message(self, *args) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.asked.append((self.headers["Host"], self.path))
        with suppress(BrokenPipeError, ConnectionResetError):  # the other side has had enough
            self.pages[self.path.partition("?")[0]](self)

    def answer(self, data: bytes, kind: str | None = "image/png", status: int = 200, **headers: str) -> None:
        self.send_response(status)
        if kind is not None:
            self.send_header("Content-Type", kind)
        for name, value in {"Content_Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def redirect(self, target: str, status: int = 302) -> None:
        self.answer(b"", None, status, Location=target)


class Web:
    """A server on the loopback that the names `*.example` resolve to, and that counts as public there."""

    def __init__(self, port: int):
        self.port = port
        self.pages: dict[str, Callable[[Handler], None]] = {}
        self.asked: list[tuple[str, str]] = []
        self.looked_up: list[str] = []

    def link(self, path: str, host: str = "pictures.example", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch, certificate: str | None = None) -> Iterator[Web]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    web = Web(server.server_address[1])
    server.RequestHandlerClass = type("Bound", (Handler,), {"pages": web.pages, "asked": web.asked})
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)

    def lookup(host: str, port: int, *args, **kwargs):
        web.looked_up.append(host)
        return REAL_LOOKUP("127.0.0.1" if host.endswith(".example") else host, port, *args, **kwargs)

    def public(address: str) -> bool:
        return is_public(address) or web.looked_up[-1].endswith(".example")

    monkeypatch.setattr(images, "PORTS", images.PORTS | {web.port})
    monkeypatch.setattr(images.socket, "getaddrinfo", lookup)
    monkeypatch.setattr(images, "is_public", public)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)


@pytest.fixture
def web(monkeypatch) -> Iterator[Web]:
    with serving(monkeypatch) as started:
        yield started


def refused(link: str) -> str:
    with pytest.raises(ValueError) as error:
        fetch_image(link)
    message = str(error.value)
    assert message.endswith(".") and "\n" not in message and len(message) < 250, message
    return message


def test_an_image(web):
    web.pages["/teal.png"] = lambda handler: handler.answer(picture())
    assert open_image(fetch_image(f"  {web.link('/teal.png?size=2&a=b')} ")).size == (30, 20)
    assert web.asked == [(f"pictures.example:{web.port}", "/teal.png?size=2&a=b")]
    web.pages["/nothing-said"] = lambda handler: handler.answer(picture(), None)
    web.pages["/bytes"] = lambda handler: handler.answer(picture(), "application/octet-stream")
    for path in ("/nothing-said", "/bytes"):
        assert fetch_image(web.link(path)) == picture()


def test_a_path_of_any_letters(web):
    web.pages["/%C3%A4pfel%20rot.png"] = lambda handler: handler.answer(picture())
    assert fetch_image(web.link("/äpfel%20rot.png")) == picture()


def test_a_name_is_resolved_once(web):
    """The connection goes to the address that was checked: a name that changes its mind in between gains nothing."""
    web.pages["/a"] = lambda handler: handler.answer(picture())
    fetch_image(web.link("/a"))
    assert web.looked_up == ["pictures.example", "127.0.0.1"]  # the second is the connection's, of the address itself


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(web, status):
    web.pages["/start"] = lambda handler: handler.redirect("next", status)
    web.pages["/next"] = lambda handler: handler.redirect(web.link("/end", "others.example"), status)
    web.pages["/end"] = lambda handler: handler.answer(picture())
    assert fetch_image(web.link("/start")) == picture()
    assert [host for host, _ in web.asked] == [
        f"{name}.example:{web.port}" for name in ("pictures", "pictures", "others")
    ]


def test_too_many_redirects(web):
    web.pages["/round"] = lambda handler: handler.redirect("/round")
    assert refused(web.link("/round")) == "The link leads through more than 3 redirects."
    assert len(web.asked) == 4


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:{port}/secret",
        "http://localhost:{port}/secret",
        "http://169.254.169.254/latest",
        "//10.0.0.1/",
    ],
)
def test_a_redirect_to_a_private_address(web, target):
    web.pages["/start"] = lambda handler: handler.redirect(target.format(port=web.port))
    web.pages["/secret"] = lambda handler: handler.answer(picture())
    assert "a private network or of this machine" in refused(web.link("/start"))
    assert [path for _, path in web.asked] == ["/start"]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("file:///etc/passwd", "no link of the web"),
        ("http://pictures.example:22/", "asks for port 22"),
        ("http://[::1", "which is no link"),
    ],
)
def test_a_redirect_elsewhere(web, target, expected):
    web.pages["/start"] = lambda handler: handler.redirect(target)
    assert expected in refused(web.link("/start"))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0",
        "localhost",
        "127。0。0。1",
        "１２７.0.0.1",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fe80::1]",
        "[fd00::1]",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "224.0.0.1",
        "255.255.255.255",
    ],
)
def test_private_hosts_in_every_spelling(web, host):
    """By what they resolve to, and without one connection."""
    message = refused(f"http://{host}:{web.port}/secret")
    assert "a private network or of this machine" in message or "cannot be found" in message
    if host not in ("[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fe80::1]", "[fd00::1]"):  # no route to look these up by
        assert "a private network or of this machine" in message
    assert web.asked == []


def test_one_private_address_among_several(monkeypatch):
    entries = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in ("93.184.216.34", "10.0.0.7")]
    monkeypatch.setattr(images.socket, "getaddrinfo", lambda *args, **kwargs: entries)
    monkeypatch.setattr(images.socket, "create_connection", lambda *args, **kwargs: pytest.fail("connected"))
    assert "a private network" in refused("http://both.example/")
    entries.pop()
    assert public_address(parse_link("http://one.example/"), 5) == "93.184.216.34"


def test_public_addresses():
    assert all(map(is_public, ("93.184.216.34", "8.8.8.8", "2606:4700:4700::1111")))
    private = (
        "127.0.0.1",
        "0.0.0.0",
        "::1",
        "::ffff:8.8.8.8",
        "2002:808:808::",
        "2001:0:1::",
        "fe80::1%eth0",
        "fc00::1",
        "168.63.129.16",  # asked from inside a machine of Azure, it tells that machine's secrets
        "192.88.99.1",
        "3fff::1",
    )
    assert not any(map(is_public, (*private, "ff02::1", "240.0.0.1", "192.0.2.1", "2001:db8::1", "198.18.0.1", "x")))


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("", "There is no link"),
        ("picture.png", "no link of the web"),
        ("ftp://pictures.example/a.png", "no link of the web"),
        ("file:///etc/passwd", "no link of the web"),
        ("data:image/png;base64,AAAA", "no link of the web"),
        ("javascript:alert(1)", "no link of the web"),
        ("http:///a.png", "no link of the web"),
        ("http://pictures.example/a b.png", "no link of the web"),
        ("http://pictures.example/\r\nHost: inner", "no link of the web"),
        ("http://pictures.example\\@127.0.0.1/", "no link of the web"),
        ("http://[::1", "no link that can be read"),
        ("http://pictures.example:port/", "no link that can be read"),
        ("http://pictures.example:99999/", "no link that can be read"),
        ("http://pictures.example:22/", "asks for port 22; expected 80, 443, 8080"),
        ("http://pictures.example:0/", "asks for port 0"),
        ("http://public.example@127.0.0.1/", "holds a user name"),
        ("http://user:word@pictures.example/", "holds a user name"),
        ("http://a..b/", "names no host"),
        ("http://" + "a" * 70 + ".example/", "names no host"),
        ("http://pictures.example/" + "a" * 3000, "has 3,024 characters; expected at most 2,000"),
    ],
)
def test_what_is_no_link(link, expected, monkeypatch):
    monkeypatch.setattr(images.socket, "getaddrinfo", lambda *args, **kwargs: pytest.fail("looked up"))
    assert expected in refused(link)


def test_a_host_that_does_not_exist(monkeypatch):
    def lookup(*args, **kwargs):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(images.socket, "getaddrinfo", lookup)
    assert refused("https://nowhere.example/") == "The host nowhere.example cannot be found."


def test_a_host_that_does_not_answer(web, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setattr(images, "PORTS", {port})
    assert refused(f"http://pictures.example:{port}/") == "pictures.example cannot be reached (ConnectionRefusedError)."


def test_what_is_no_image(web):
    web.pages["/page"] = lambda handler: handler.answer(b"<html></html>", "text/html; charset=utf-8")
    web.pages["/missing"] = lambda handler: handler.answer(b"", None, 404)
    web.pages["/zipped"] = lambda handler: handler.answer(picture(), Content_Encoding="gzip")
    assert refused(web.link("/page")) == "The link leads to text/html; expected an image."
    assert refused(web.link("/missing")) == "pictures.example answered with status 404 instead of an image."
    assert "compressed answer" in refused(web.link("/zipped"))
    web.pages["/says-so"] = lambda handler: handler.answer(b"<html></html>")
    with pytest.raises(ValueError, match="no image that can be read"):
        open_image(fetch_image(web.link("/says-so")))


def test_too_large(web):
    sent = []

    def endless(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "image/png")
        handler.end_headers()
        while True:
            handler.wfile.write(bytes(1 << 16))
            sent.append(1 << 16)

    web.pages["/endless"] = endless
    web.pages["/states-it"] = lambda handler: handler.answer(b"", Content_Length=str(50_000_000))
    assert refused(web.link("/states-it")) == "The link leads to 50.0 MB; expected at most 30 MB."
    assert "more than 30 MB" in refused(web.link("/endless"))
    assert sum(sent) < MAX_BYTES + 8_000_000  # what fits into the buffers of the connection may be on its way
    web.pages["/full"] = lambda handler: handler.answer(bytes(MAX_BYTES))
    assert len(fetch_image(web.link("/full"))) == MAX_BYTES


def drip(handler: Handler) -> None:
    """One byte of the body at a time, for as long as somebody listens."""
    handler.send_response(200)
    handler.send_header("Content-Type", "image/png")
    handler.end_headers()
    while True:
        handler.wfile.write(b"x")
        time.sleep(0.05)


def drip_headers(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.0 200 OK\r\nX-Long: ")
    while True:
        handler.wfile.write(b"x")
        time.sleep(0.05)


@pytest.mark.parametrize("slow", [drip, drip_headers, lambda handler: time.sleep(3)])
def test_too_slow(web, slow, monkeypatch):
    """The limit holds for everything together, not for each byte."""
    monkeypatch.setattr(images, "TIME_LIMIT", 0.7)
    web.pages["/slow"] = slow
    start = time.monotonic()
    assert refused(web.link("/slow")) == "pictures.example took longer than 0.7 seconds to send the image."
    assert time.monotonic() - start < 2.5


def test_a_slow_redirect_uses_up_the_same_time(web, monkeypatch):
    monkeypatch.setattr(images, "TIME_LIMIT", 1.0)

    def later(handler: Handler) -> None:
        time.sleep(0.6)
        handler.redirect("/round")

    web.pages["/round"] = later
    assert "took longer than 1 seconds" in refused(web.link("/round"))


def test_a_name_server_that_does_not_answer(monkeypatch):
    monkeypatch.setattr(images, "TIME_LIMIT", 0.3)
    monkeypatch.setattr(images.socket, "getaddrinfo", lambda *args, **kwargs: time.sleep(2) or [])
    start = time.monotonic()
    assert refused("http://slow.example/") == "The host slow.example cannot be found."
    assert time.monotonic() - start < 1.5


def test_broken_answers(web):
    def cut(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "5000")
        handler.end_headers()
        handler.wfile.write(bytes(100))

    web.pages["/cut"] = cut
    web.pages["/rubbish"] = lambda handler: handler.wfile.write(b"rubbish\r\n\r\n")
    web.pages["/hangs-up"] = lambda handler: handler.connection.shutdown(socket.SHUT_RDWR)
    assert refused(web.link("/cut")) == "pictures.example broke off after 100 of 5,000 bytes."
    assert "cannot be reached (BadStatusLine)" in refused(web.link("/rubbish"))
    assert "cannot be reached" in refused(web.link("/hangs-up"))


def test_tls_checks_the_name_of_the_host(monkeypatch, tmp_path):
    """The address is connected to, and the certificate has to be the host's."""
    certificate = tmp_path / "certificate.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=pictures.example",
    ]
    command += ["-addext", "subjectAltName=DNS:pictures.example", "-keyout", str(certificate)]
    try:
        made = subprocess.run([*command, "-out", str(tmp_path / "public.pem")], capture_output=True, check=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed, which makes the test's certificate")
    assert made.returncode == 0
    certificate.write_text(certificate.read_text() + (tmp_path / "public.pem").read_text())
    with serving(monkeypatch, str(certificate)) as web:
        web.pages["/a"] = lambda handler: handler.answer(picture())
        link = web.link("/a", scheme="https")
        assert "cannot be reached (SSLCertVerificationError)" in refused(link)
        trusted = ssl.create_default_context(cafile=str(tmp_path / "public.pem"))
        monkeypatch.setattr(images.ssl, "create_default_context", lambda: trusted)
        assert fetch_image(link) == picture()
        assert "SSLCertVerificationError" in refused(web.link("/a", "others.example", "https"))
