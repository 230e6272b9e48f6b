# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""What a visitor chooses: an image, from four places, and one model or several. Both are part of the share link.

An uploaded file and a camera's picture stay out of the link: it names examples, links and models.
"""

import hashlib
from collections.abc import Callable

import streamlit as st
from PIL import Image

from .images import (
    FASHION_MNIST,
    MAX_BYTES,
    MEGAPIXELS,
    PHOTOGRAPH,
    ChosenImage,
    Example,
    enlarged,
    example_image,
    examples,
    fetch_image,
    find_example,
    open_image,
)
from .layout import description, problem
from .models import offered_models

EXAMPLE, UPLOAD, CAMERA, LINK = "Example", "Upload", "Camera", "Link"
SOURCES = (EXAMPLE, UPLOAD, CAMERA, LINK)
ENDINGS = ("png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff")
MOST_MODELS = 4


def choose_image(domain: str, key: str = "image") -> ChosenImage | None:
    """The controls for an image: an example, a file, the camera or a link. They draw no preview; `preview` does.

    Args:
        domain: whose examples come first, `"fashion_mnist"` or `"photograph"`; the first of them is there on load.
        key: start of the widgets' keys and of their names in the share link: `image_from`, `image`, `image_link`.

    Returns:
        The image; None while there is none yet, and after bad input, about which a sentence stands on the page.
    """
    source = st.segmented_control(
        "Image from", SOURCES, default=EXAMPLE, required=True, key=f"{key}_from", bind="query-params"
    )
    try:
        if source == UPLOAD:
            return _uploaded(key)
        if source == CAMERA:
            return _photographed(key)
        if source == LINK:
            return _linked(key)
    except ValueError as error:
        problem(error)
        return None
    return _example(domain, key)


def choose_model(label: str = "Model", key: str = "model", several: bool = False) -> str | tuple[str, ...]:
    """The control for a model, or for up to four: those offered, and any Hub id that is typed.

    Args:
        label: above the control.
        key: of the widget, and its name in the share link.
        several: whether more than one may be chosen; the first two are on load.

    Returns:
        One name, or a tuple of names, which may be empty. They are not checked: `serve` does that.
    """
    hint = "Or type the Hub id (organisation/model) of a model of one of the families, and press Enter."
    offered = offered_models()
    if several:
        chosen = st.multiselect(
            label,
            offered,
            default=offered[:2],
            key=key,
            help=hint,
            max_selections=MOST_MODELS,
            accept_new_options=True,
            bind="query-params",
            persist_state="session",
        )
        return tuple(dict.fromkeys(name.strip() for name in chosen if name.strip()))
    chosen = st.selectbox(
        label, offered, key=key, help=hint, accept_new_options=True, bind="query-params", persist_state="session"
    )
    return chosen.strip()


def preview(chosen: ChosenImage, side: int = 256) -> None:
    """The image with its title, its licence and a text alternative; tiny ones are enlarged without smoothing.

    Args:
        chosen: the image.
        side: pixels of its longer side on the page.
    """
    image = enlarged(chosen.image, side)
    if max(image.size) > 2 * side:  # more than a sharp screen shows would only be slow to send
        image = image.copy()
        image.thumbnail((2 * side, 2 * side))
    width = max(1, round(side * image.width / max(image.size)))
    # the squares of a tiny image stay sharp; of a photograph JPEG takes a tenth of the time and the room
    kind = "PNG" if max(chosen.image.size) < side else "JPEG"
    st.image(image, alt=chosen.alt, width=width, output_format=kind)
    description(chosen.title if chosen.license is None else f"{chosen.title}. Licence: {chosen.license}.")


def _example(domain: str, key: str) -> ChosenImage:
    others = PHOTOGRAPH if domain == FASHION_MNIST else FASHION_MNIST
    names = [example.name for example in (*examples(domain), *examples(others))]
    name = st.selectbox("Example", names, format_func=_example_title, key=key, bind="query-params")
    example: Example = find_example(name)
    image = example_image(name)
    return ChosenImage(
        image, example.title, example.alt, "example", example.domain, example.label, example.license, _digest(image)
    )


def _example_title(name: str) -> str:
    return find_example(name).title


def _uploaded(key: str) -> ChosenImage | None:
    file = st.file_uploader(
        "Image file",
        type=list(ENDINGS),
        key=f"{key}_file",
        max_upload_size=MAX_BYTES // 1_000_000,
        help=f"At most {MEGAPIXELS} megapixels. It is read into memory, reduced, and forgotten when you leave.",
    )
    if file is None:
        return None
    data = file.getvalue()
    image = _once(key, hashlib.sha256(data).hexdigest(), lambda: open_image(data, file.name))
    return _strange(image, file.name, "An image that you uploaded", "upload")


def _photographed(key: str) -> ChosenImage | None:
    file = st.camera_input("Take a picture", key=f"{key}_camera")
    if file is None:
        return None
    data = file.getvalue()
    image = _once(key, hashlib.sha256(data).hexdigest(), lambda: open_image(data, "the picture"))
    return _strange(image, "Your picture", "A picture that you took", "camera")


def _linked(key: str) -> ChosenImage | None:
    link = st.text_input(
        "Link to an image",
        key=f"{key}_link",
        max_chars=2000,
        placeholder="https://…",
        help="This page's server fetches it: from public hosts, at most 30 MB, within 10 seconds.",
        bind="query-params",
    )
    if not link or not link.strip():
        return None
    with st.spinner("Fetching the image"):
        image = _once(key, link, lambda: open_image(fetch_image(link), "the image behind the link"))
    return _strange(image, "Image from a link", "An image from a link that you gave", "link")


def _strange(image: Image.Image, title: str, alt: str, source: str) -> ChosenImage:
    return ChosenImage(image, title, alt, source, None, None, None, _digest(image))


def _once(key: str, what: str, read: Callable[[], Image.Image]) -> Image.Image:
    """Read now, or what came of it when this visitor's page was last drawn with the same input, an error too."""
    slot = f"_{key}_read"
    remembered = st.session_state.get(slot)
    if remembered is None or remembered[0] != what:
        try:
            remembered = (what, read())
        except ValueError as error:
            remembered = (what, error)
        st.session_state[slot] = remembered
    if isinstance(remembered[1], ValueError):
        raise ValueError(str(remembered[1]))
    return remembered[1]


def _digest(image: Image.Image) -> str:
    return hashlib.sha256(f"{image.width}x{image.height}:".encode() + image.tobytes()).hexdigest()
