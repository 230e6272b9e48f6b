# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""A stranger's bytes as an RGB image, or one sentence about them: uploads, links within bounds, and examples."""

import contextlib
import http.client
import io
import ipaddress
import re
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from urllib.parse import quote, urljoin, urlsplit

from PIL import Image, UnidentifiedImageError

from ..families.labels import labels
from ..models.compat import unknown_name_message
from ..places import ASSETS

MAX_BYTES = 30_000_000
MAX_SIDE = 1024
# of the file, from its header: what phones call 64 megapixels, which are up to 9280 x 6944. Decoding that many takes
# 80 MiB for a JPEG, 250 for a progressive one, about 300 for other kinds, and 1,000 for WebP, whose reader holds the
# picture four times (measured with Pillow 13)
MAX_PIXELS = 64_500_000
MEGAPIXELS = MAX_PIXELS // 1_000_000  # as messages and pages say it
_STRIP = 1 << 20  # pixels that are converted at once
MAX_FILE_SIDE = 16_384
MAX_ASPECT = 20
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
_KINDS = "PNG, JPEG, WebP, GIF, BMP or TIFF"
_decoding = threading.Lock()  # one picture at a time bounds the memory
_SVG = re.compile(rb"\s*(?:\xef\xbb\xbf)?\s*<(?:\?xml|!DOCTYPE\s+svg|!--|svg)", re.IGNORECASE)


def open_image(data: bytes, name: str = "the file") -> Image.Image:
    """The image in some bytes: upright, 8-bit RGB, the first frame of an animation, at most 1,024 pixels a side.

    Its kind is told from the bytes, whatever the file is called. Sizes are read from the header and checked before
    anything is decoded. Colours are converted as the package's image processor does it: transparency is laid over
    white, 16-bit grey is scaled to 8 bits.

    Args:
        data: a PNG, JPEG, WebP, GIF, BMP, TIFF or PPM file of at most 30 MB, whose picture has at most 64.5 million
            pixels.
        name: how a message calls it.

    Raises:
        ValueError: one sentence about a file that is empty, too large, no image, corrupt, cut off, or whose picture is
            too large or too long.
    """
    what = "The file" if name == "the file" else f"“{name if len(name) <= 80 else name[:77] + '...'}”"
    if not data:
        raise ValueError(f"{what} is empty.")
    if len(data) > MAX_BYTES:
        raise ValueError(f"{what} has {len(data) / 1e6:.1f} MB; expected at most {MAX_BYTES // 1_000_000} MB.")
    if _SVG.match(data[:512]):
        raise ValueError(f"{what} is an SVG drawing or another text; expected a {_KINDS} image.")
    try:
        with warnings.catch_warnings():
            # Pillow warns of large images, which are counted below
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise ValueError(f"{what} is no image that can be read; expected a {_KINDS} image.") from None
    except Image.DecompressionBombError:
        raise ValueError(f"{what} has far more than the {MEGAPIXELS} megapixels that are taken.") from None
    except Exception as error:  # Pillow's readers stumble over hostile headers in many ways
        raise ValueError(f"{what} is a damaged image or none ({type(error).__name__}).") from None
    with image:
        _check_size(image.size, what)
        with _decoding:
            try:
                return _decoded(image, what)
            except MemoryError:
                raise ValueError(f"{what} needs more memory than this page has.") from None


def _check_size(size: tuple[int, int], what: str) -> None:
    width, height = size
    shown = f"{what} has {width:,} x {height:,} pixels"
    if min(size) < 1:
        raise ValueError(f"{shown}; expected at least one.")
    if width * height > MAX_PIXELS:
        raise ValueError(f"{shown}; images of at most {MEGAPIXELS} megapixels are taken.")
    if max(size) > MAX_FILE_SIDE:
        raise ValueError(f"{shown}; expected at most {MAX_FILE_SIDE:,} on a side.")
    if max(size) > MAX_ASPECT * min(size):
        raise ValueError(f"{shown}; a strip more than {MAX_ASPECT} times as long as wide is not taken.")


def _decoded(image: Image.Image, what: str) -> Image.Image:
    """Upright, RGB and small, without the metadata of the visitor's file."""
    try:
        image.draft(None, (2 * MAX_SIDE, 2 * MAX_SIDE))  # JPEG can leave out detail while it decodes
        image.load()
    except MemoryError:
        raise
    except Exception:  # as above, and a file that was cut off
        raise ValueError(f"{what} is damaged or cut off: its picture cannot be decoded.") from None
    longest = max(image.size)
    size = tuple(max(1, round(side * MAX_SIDE / max(longest, MAX_SIDE))) for side in image.size)
    factor = max(1, longest // (3 * MAX_SIDE))  # leaves enough detail for the filter that does the rest
    rgb = _reduced_rgb(image, factor)
    if rgb.size != size:
        rgb = rgb.resize(size, Image.Resampling.LANCZOS, (0, 0, image.width / factor, image.height / factor))
    turn = _turn(image)
    rgb = rgb if turn is None else rgb.transpose(turn)
    return Image.frombytes("RGB", rgb.size, rgb.tobytes())


def _reduced_rgb(image: Image.Image, factor: int) -> Image.Image:
    """RGB, each square of `factor` pixels a side as one.

    It goes strip by strip: on the way to RGB there are up to four copies of what is converted.
    """
    from ..models.image_rgb import to_rgb  # imports torch

    if factor == 1 and image.mode == "RGB" and not image.has_transparency_data:
        return image
    rgb = Image.new("RGB", (-(-image.width // factor), -(-image.height // factor)))
    rows = factor * max(1, _STRIP // (image.width * factor))
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        # nothing that says how to turn it
        strip.info = {key: value for key, value in image.info.items() if key == "transparency"}
        rgb.paste(to_rgb(strip).reduce(factor), (0, top // factor))
    return rgb


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What makes a picture upright."""
    from ..models.image_rgb import ORIENTATION_TAG, TRANSPOSITIONS

    try:
        return TRANSPOSITIONS.get(image.getexif().get(ORIENTATION_TAG))
    except Exception:  # a damaged EXIF block says nothing about the pixels, which are fine
        return None


def enlarged(image: Image.Image, side: int = 224) -> Image.Image:
    """A small image with each pixel as a square, so that a browser does not blur it; a larger one as it is.

    Args:
        image: any image.
        side: pixels that the longer side has at least.
    """
    factor = -(-side // max(image.size))
    if factor <= 1:
        return image
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


@dataclass(frozen=True)
class ChosenImage:
    """The image that a page works on.

    Attributes:
        image: RGB, at most 1,024 pixels a side.
        title: what it is called.
        alt: what there is to see; of a stranger's image only where it comes from.
        source: `"example"`, `"upload"`, `"camera"` or `"link"`.
        domain: `"fashion_mnist"` or `"photograph"` of an example, else None: not known.
        label: class of an example that has one.
        license: terms of an example.
        digest: SHA-256 of size and pixels, as the key of a cache.
    """

    image: Image.Image
    title: str
    alt: str
    source: str
    domain: str | None
    label: str | None
    license: str | None
    digest: str


# Where a visitor's link may lead: public hosts of the web, told by the addresses that their names resolve to.


# what a hosted Space can reach
PORTS = frozenset({80, 443, 8080})
MAX_LENGTH = 2000  # characters of a link
_SCHEMES = {"http": 80, "https": 443}
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\]")
_HOST = re.compile(r"[A-Za-z0-9:._-]+")
_GLOBAL_IPV6 = ipaddress.ip_network("2000::/3")
# Azure's service for its own machines, relays of 6to4, and documentation, which Python 3.11 takes for public
_SPECIAL = tuple(map(ipaddress.ip_network, ("168.63.129.16/32", "192.88.99.0/24", "3fff::/20")))


@dataclass(frozen=True)
class Target:
    """A link in its parts.

    Attributes:
        scheme: `"http"` or `"https"`.
        host: name or address, without brackets, in ASCII.
        port: its port.
        path: path and query as they are sent.
    """

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """Host and port as the `Host` header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _SCHEMES[self.scheme] else f"{host}:{self.port}"


def parse_link(link: str) -> Target:
    """A link's parts; resolves nothing.

    Raises:
        ValueError: no link of the web, a name and password in it, or a port that is not of the web.
    """
    link = link.strip()
    if len(link) > MAX_LENGTH:
        raise ValueError(f"The link has {len(link):,} characters; expected at most {MAX_LENGTH:,}.")
    if not link:
        raise ValueError("There is no link; expected https://host/picture.")
    shown = short(link)
    try:
        parts = urlsplit(link)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"{shown} is no link that can be read; expected https://host/picture.") from None
    if parts.scheme not in _SCHEMES or not host or _FORBIDDEN.search(link):
        raise ValueError(f"{shown} is no link of the web; expected https://host/picture.")
    if "@" in parts.netloc:
        raise ValueError(f"{shown} holds a user name; expected a link that needs none.")
    try:
        host = host.encode("idna").decode("ascii")
    except UnicodeError:
        host = ""
    if not _HOST.fullmatch(host):
        raise ValueError(f"{shown} names no host that can be looked up; expected https://host/picture.")
    port = _SCHEMES[parts.scheme] if port is None else port
    if port not in PORTS:
        raise ValueError(f"{shown} asks for port {port}; expected {', '.join(map(str, sorted(PORTS)))}.")
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    return Target(parts.scheme, host, port, f"{path}?{query}" if query else path)


def public_address(target: Target, seconds: float) -> str:
    """The address to connect to.

    Args:
        target: where a link leads.
        seconds: how long to wait for the name to be resolved.

    Returns:
        The first of its addresses; connecting to the name instead would resolve it once more, to another one perhaps.

    Raises:
        ValueError: the name does not resolve, or to any address that is not public.
    """
    found: list[str] = []
    resolver = threading.Thread(target=_resolve, args=(target, found), daemon=True)
    resolver.start()
    resolver.join(max(0.0, seconds))
    addresses = list(found)
    if not addresses:
        raise ValueError(f"The host {short(target.host)} cannot be found.")
    if not all(is_public(address) for address in addresses):
        raise ValueError(
            f"The host {short(target.host)} is at an address of a private network or of this machine; "
            "expected a public one."
        )
    return addresses[0]


def is_public(address: str) -> bool:
    """Whether an address belongs to the public internet: none of this machine, a local network or a special use.

    Addresses of IPv6 that stand for one of IPv4 (mapped, 6to4, Teredo, NAT64) are none.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:  # with a zone: `fe80::1%eth0`
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and (
        parsed not in _GLOBAL_IPV6 or parsed.sixtofour is not None or parsed.teredo is not None
    ):
        return False
    if any(parsed in network for network in _SPECIAL):
        return False
    return parsed.is_global and not parsed.is_multicast and not parsed.is_reserved


def short(text: str) -> str:
    """A link or host as messages show it: in one line, and not too long."""
    text = " ".join(text.split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def _resolve(target: Target, found: list[str]) -> None:
    try:
        entries = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return
    found.extend(str(entry[4][0]) for entry in entries)


# The image behind a visitor's link, fetched within bounds and from public hosts only.


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


# The images that a page offers: Fashion-MNIST test images, and photographs for what needs no label.


FASHION_MNIST = "fashion_mnist"
PHOTOGRAPH = "photograph"
_TEST_SET = ASSETS / "fashion_mnist" / "test-00000-of-00001.parquet"
_MIT = "MIT (Zalando SE)"


@dataclass(frozen=True)
class Example:
    """One image that comes with the package.

    Attributes:
        name: how a share link calls it.
        title: what a visitor reads.
        label: its class, None where it has none of a data set.
        domain: `"fashion_mnist"` or `"photograph"`.
        license: its terms, with whoever gave them.
        alt: what there is to see, for those who cannot.
    """

    name: str
    title: str
    label: str | None
    domain: str
    license: str
    alt: str


# By class, in the order of the data set. The image is the first of its class in the embedded test set: not chosen.
_CLOTHES = (
    ("t-shirt", "A striped T-shirt with short sleeves"),
    ("trouser", "A pair of patterned trousers"),
    ("pullover", "A pullover with long sleeves and a round print on the chest"),
    ("dress", "A long light dress with thin straps"),
    ("coat", "A light buttoned coat with long sleeves"),
    ("sandal", "A flat sandal seen from the side"),
    ("shirt", "A long shirt with a round neck and three-quarter sleeves"),
    ("sneaker", "A light sneaker seen from the side, toe to the right"),
    ("bag", "A rectangular light bag with a thin strap"),
    ("ankle-boot", "An ankle boot seen from the side"),
)
_PHOTOGRAPHS = (
    Example("cat", "Cat", None, PHOTOGRAPH, "CC0 (Stéfan van der Walt)", "The face of a tabby cat with green eyes"),
    Example(
        "coffee",
        "Cup of coffee",
        None,
        PHOTOGRAPH,
        "CC0 (Rachel Michetti, courtesy of Pikolo Espresso Bar)",
        "An espresso in a red and white cup on a red saucer with a spoon, on a wooden table",
    ),
    Example(
        "rocket",
        "Rocket",
        None,
        PHOTOGRAPH,
        "public domain (SpaceX)",
        "A white rocket on its launch pad at dusk between four lattice towers",
    ),
)


@cache
def examples(domain: str) -> tuple[Example, ...]:
    """The examples of a domain.

    Args:
        domain: `"fashion_mnist"`, ten test images, one of each class, or `"photograph"`, three photographs.

    Raises:
        ValueError: another domain.
    """
    if domain == PHOTOGRAPH:
        return _PHOTOGRAPHS
    if domain != FASHION_MNIST:
        raise ValueError(unknown_name_message("domain of examples", domain, (FASHION_MNIST, PHOTOGRAPH)))
    named = zip(labels("fashion-mnist"), _CLOTHES, strict=True)
    return tuple(
        Example(name, label, label, FASHION_MNIST, _MIT, f"{alt}, light grey on black, 28 x 28 pixels")
        for label, (name, alt) in named
    )


def find_example(name: str) -> Example:
    """The example called `name`, of either domain.

    Raises:
        ValueError: there is none.
    """
    known = {example.name: example for domain in (FASHION_MNIST, PHOTOGRAPH) for example in examples(domain)}
    if name not in known:
        raise ValueError(unknown_name_message("example", name, known))
    return known[name]


def example_image(name: str) -> Image.Image:
    """The image of an example, RGB: 28 x 28 pixels of Fashion-MNIST, at most 512 a side of a photograph.

    Raises:
        ValueError: there is no such example.
    """
    example = find_example(name)
    if example.domain == PHOTOGRAPH:
        with Image.open(ASSETS / "photographs" / f"{name}.jpg") as image:
            return image.convert("RGB")
    with Image.open(io.BytesIO(_test_images()[example.label])) as image:
        return image.convert("RGB")


@cache
def _test_images() -> dict[str, bytes]:
    """By label, the PNG file of the first image of that class in the embedded test set."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(_TEST_SET) as file:  # read_table would import pandas, which takes seconds
        table = file.read(columns=["image.bytes", "label"])
    classes, first = labels("fashion-mnist"), {}
    for image, index in zip(table["image"], table["label"], strict=True):
        first.setdefault(classes[index.as_py()], image)
    return {label: image["bytes"].as_py() for label, image in first.items()}
