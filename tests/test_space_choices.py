# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""The controls that all Spaces share, on a page of their own; the frame of a page; the queue."""

import io
import threading
import time

import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from hf_vit_family.spaces import choices, turns
from hf_vit_family.spaces.images import example_image
from hf_vit_family.spaces.layout import SPACES, addresses, plain
from hf_vit_family.spaces.turns import Queue


def page() -> None:
    import streamlit as st

    from hf_vit_family.spaces.choices import choose_image, choose_model, preview
    from hf_vit_family.spaces.layout import begin, end

    begin("classify")
    chosen = choose_image("fashion_mnist")
    st.session_state["chosen"] = chosen
    if chosen is not None:
        preview(chosen)
    st.session_state["one"] = choose_model()
    st.session_state["several"] = choose_model("Models", key="models", several=True)
    end("classify")


def visit(**query: str | list[str]) -> AppTest:
    app = AppTest.from_function(page, default_timeout=120)
    app.query_params.update(query)
    return checked(app.run())


def checked(app: AppTest) -> AppTest:
    """The page lives on, whatever happened: no exception, heading and footer are there."""
    assert not app.exception, app.exception
    assert app.title[0].value == "Classify and compare"
    assert "runs this page on your own machine" in app.caption[-1].value
    return app


def upload(data: bytes, name: str = "picture.png", kind: str = "image/png") -> AppTest:
    app = visit(image_from="Upload")
    return checked(app.file_uploader(key="image_file").upload(name, data, kind).run())


def png(size: tuple[int, int] = (40, 30), mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, 1).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("see https://evil.example/x", ":\u2060//"),
        ("WWW.evil.example", "WWW\u2060."),
        ("a@evil.example", "@\u2060"),
        (":material/home:", ":\u2060material"),
        ("a -> b", "-\u2060>"),
        ("a--b", "-\u2060-"),
    ],
)
def test_what_the_browser_would_replace(text, cut):
    """Escaping is not enough: links, icons and arrows are made of the text after Markdown was read."""
    assert cut in plain(text).replace("\\", "") and plain(text).replace("\\", "").replace("\u2060", "") == text


def test_ordinary_names_stay_as_they_are():
    assert plain("timm/maxvit-tiny.in1k") == "timm/maxvit-tiny.in1k"
    assert plain("Ankle boot (9)") == "Ankle boot (9)"


def test_on_load():
    app = visit()
    chosen = app.session_state["chosen"]
    assert (chosen.title, chosen.source, chosen.domain, chosen.label) == (
        "T-shirt/top",
        "example",
        "fashion_mnist",
        "T-shirt/top",
    )
    assert chosen.image.tobytes() == example_image("t-shirt").tobytes()
    assert chosen.license == "MIT (Zalando SE)" and "T-shirt" in chosen.alt
    assert app.session_state["one"] == "maxvit_fashion_mnist"
    assert app.session_state["several"] == ("maxvit_fashion_mnist", "poolformer_fashion_mnist")
    assert not app.error


def test_examples_of_both_kinds():
    app = visit()
    assert len(app.selectbox(key="image").options) == 13
    chosen = checked(app.selectbox(key="image").select("coffee").run()).session_state["chosen"]
    assert (chosen.title, chosen.domain, chosen.label) == ("Cup of coffee", "photograph", None)
    again = checked(app.selectbox(key="image").select("bag").run()).session_state["chosen"]
    assert again.digest != chosen.digest and again.label == "Bag"


def test_a_share_link():
    app = visit(image="Rocket", model="someone/model", models=["a/b", "twins_fashion_mnist"])
    assert app.session_state["chosen"].title == "Rocket"
    assert app.session_state["one"] == "someone/model"
    assert app.session_state["several"] == ("a/b", "twins_fashion_mnist")


def test_a_share_link_that_makes_no_sense():
    app = visit(image="Ghost", image_from="Nowhere", models=[" ", "a/b", "a/b "])
    assert app.session_state["chosen"].title == "T-shirt/top"
    assert app.session_state["several"] == ("a/b",)


def test_four_models_at_most():
    app = visit(models=[f"a/{index}" for index in range(9)])
    assert len(app.session_state["several"]) == choices.MOST_MODELS == 4


def test_an_upload():
    assert visit(image_from="Upload").session_state["chosen"] is None
    chosen = upload(png()).session_state["chosen"]
    assert (chosen.title, chosen.source, chosen.domain, chosen.label, chosen.license) == (
        "picture.png",
        "upload",
        None,
        None,
        None,
    )
    assert chosen.image.size == (40, 30)


def test_an_upload_is_read_once(monkeypatch):
    read = []
    monkeypatch.setattr(choices, "open_image", lambda data, name: read.append(name) or Image.new("RGB", (8, 8)))
    app = upload(png())
    checked(app.selectbox(key="model").select("twins_fashion_mnist").run())
    assert read == ["picture.png"]
    checked(app.file_uploader(key="image_file").upload("other.png", png((9, 9)), "image/png").run())
    assert read == ["picture.png", "other.png"]


@pytest.mark.parametrize(
    ("data", "name", "expected"),
    [
        (b"", "empty.png", "“empty.png” is empty."),
        (b"no image at all", "text.png", "“text.png” is no image that can be read"),
        (png()[:60], "cut.png", "“cut.png” is damaged or cut off"),
        (png((6000, 20), "1"), "strip.png", "a strip more than 20 times as long as wide"),
        (png((20_000, 20), "1"), "long.png", "expected at most 16,384 on a side"),
        (png((9000, 9000), "1"), "bomb.png", "images of at most 64 megapixels are taken"),
        (b"<svg><script>alert(1)</script></svg>", "drawing.png", "an SVG drawing"),
        (b"x", "![x](http://a.example/b.png).png", "is no image"),
    ],
)
def test_bad_uploads(data, name, expected):
    app = upload(data, name)
    assert app.session_state["chosen"] is None
    assert len(app.error) == 1
    sentence = app.error[0].value.replace("\\", "")
    assert expected in sentence and sentence.endswith(".")
    assert "![" not in app.error[0].value  # shown as it is written, not as a picture from elsewhere
    back = checked(app.segmented_control(key="image_from").select("Example").run())
    assert back.session_state["chosen"].title == "T-shirt/top" and not back.error


def test_an_upload_of_fifty_megabytes(monkeypatch):
    """Streamlit's own limit stops it in the browser; whoever gets round that meets the same limit behind it."""
    app = visit(image_from="Upload")
    assert app.file_uploader(key="image_file").proto.max_upload_size_mb == 30
    monkeypatch.setattr(choices, "MAX_BYTES", 100_000_000)
    app = upload(bytes(50_000_000), "large.png")
    assert "“large.png” has 50.0 MB; expected at most 30 MB" in app.error[0].value.replace("\\", "")


def test_a_link(monkeypatch):
    asked = []
    monkeypatch.setattr(choices, "fetch_image", lambda link: asked.append(link) or png((50, 20)))
    assert visit(image_from="Link").session_state["chosen"] is None
    app = visit(image_from="Link", image_link="https://pictures.example/a.png")
    chosen = app.session_state["chosen"]
    assert (chosen.source, chosen.image.size, chosen.domain) == ("link", (50, 20), None)
    checked(app.selectbox(key="model").select("twins_fashion_mnist").run())
    assert asked == ["https://pictures.example/a.png"]
    checked(app.text_input(key="image_link").input("https://pictures.example/b.png").run())
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("http://127.0.0.1/a.png", "an address of a private network or of this machine"),
        ("http://localhost:8080/", "an address of a private network or of this machine"),
        ("file:///etc/passwd", "no link of the web"),
        ("http://pictures.example:22/", "asks for port 22"),
    ],
)
def test_bad_links(link, expected):
    app = visit(image_from="Link", image_link=link)
    assert app.session_state["chosen"] is None
    assert expected in app.error[0].value.replace("\\", "")


def test_the_camera_is_asked_for_only_when_it_is_chosen():
    app = visit()
    assert not app.get("camera_input")
    assert visit(image_from="Camera").get("camera_input")


def test_digests():
    """Equal for equal pixels, different for another size of the same bytes."""
    wide, high = Image.new("RGB", (6, 4)), Image.new("RGB", (4, 6))
    assert choices._digest(wide) == choices._digest(wide.copy()) != choices._digest(high)


def test_text_from_outside_is_shown_as_it_is():
    assert plain("a [b](c) `d` :red[e] $f$ <g>") == r"a \[b\](c) \`d\` \:red\[e\] \$f\$ \<g\>"
    assert plain("An image, 28 x 28 (MIT).") == "An image, 28 x 28 (MIT)."


def test_addresses_of_the_other_spaces(monkeypatch):
    assert addresses() == {}
    monkeypatch.setenv("HFVF_SPACES", "inspect=https://hub.example/spaces/a/b classify=https://hub.example/c")
    assert addresses() == {"inspect": "https://hub.example/spaces/a/b", "classify": "https://hub.example/c"}
    assert "[Look inside](https://hub.example/spaces/a/b)" in visit().caption[0].value
    for wrong in ("inspect", "inspect=javascript:alert(1)", "other=https://hub.example"):
        monkeypatch.setenv("HFVF_SPACES", wrong)
        with pytest.raises(ValueError, match="HFVF_SPACES holds"):
            addresses()
    assert list(SPACES) == ["classify", "inspect", "architectures"]


def test_a_queue_lets_in_one_after_the_other():
    queue = Queue(1)
    tickets = [queue.join() for _ in range(3)]
    assert queue.wait(tickets[0], 0) == 0
    assert queue.wait(tickets[1], 0.01) == 1
    assert queue.wait(tickets[2], 0.01) == 2
    queue.leave(tickets[1])  # gave up waiting
    assert queue.wait(tickets[2], 0.01) == 1
    queue.leave(tickets[0])
    assert queue.wait(tickets[2], 0) == 0
    queue.leave(tickets[2])
    with pytest.raises(ValueError, match="queue of 0 places"):
        Queue(0)


def test_a_queue_under_load():
    """Never more inside than there are places, in the order of coming, and every one gets in."""
    queue = Queue(2)
    inside, most, order = [], [], []
    tickets = [queue.join() for _ in range(20)]

    def work(number: int) -> None:
        assert queue.wait(tickets[number], 60) == 0
        order.append(number)
        inside.append(number)
        most.append(len(inside))
        time.sleep(0.005)
        inside.remove(number)
        queue.leave(tickets[number])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) <= 2 and sorted(order) == list(range(20))
    assert all(abs(number - place) <= 2 for place, number in enumerate(order))


def test_a_turn_says_how_many_are_before(monkeypatch):
    queue = Queue(1)
    monkeypatch.setattr(turns, "COMPUTATIONS", queue)
    first = queue.join()
    assert queue.wait(first, 0) == 0
    said = []

    class Box:
        def info(self, text: str) -> None:
            said.append(text)
            if len(said) == 2:
                queue.leave(first)

        def empty(self) -> None:
            said.append("gone")

    monkeypatch.setattr(turns.st, "empty", Box)
    with turns.turn("classify the image"):
        assert said == ["Waiting to classify the image: 1 visitor is before you."] * 2 + ["gone"]
    assert queue.wait(queue.join(), 0) == 0


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_turn_is_given_back_whatever_happens(monkeypatch, error):
    """Streamlit stops a script with exceptions that are none of `Exception`."""
    queue = Queue(1)
    monkeypatch.setattr(turns, "COMPUTATIONS", queue)
    with pytest.raises(error), turns.turn("do something"):
        raise error
    taken = queue.join()
    assert queue.wait(taken, 0) == 0

    def stopped(*args) -> None:
        raise error

    monkeypatch.setattr(turns.st, "empty", stopped)
    with pytest.raises(error), turns.turn("wait"):
        raise AssertionError("the place is taken")
    queue.leave(taken)
    assert queue.wait(queue.join(), 0) == 0


def test_a_script_that_streamlit_stops_gives_its_turn_back():
    def stopping() -> None:
        import streamlit as st

        from hf_vit_family.spaces.turns import turn

        with turn("stop"):
            st.stop()

    for _ in range(turns.COMPUTATIONS.places + 1):
        app = AppTest.from_function(stopping, default_timeout=120).run()
        assert not app.exception
    ticket = turns.COMPUTATIONS.join()
    assert turns.COMPUTATIONS.wait(ticket, 0) == 0
    turns.COMPUTATIONS.leave(ticket)
