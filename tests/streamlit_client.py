# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""A visitor of a Streamlit page without a browser: its websocket protocol, and uploads over HTTP.

It keeps what a browser would draw: the elements of the last run of the script, by their place on the page.
"""

import time
import urllib.request
import uuid
from collections.abc import Iterator
from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.sync.client import connect


class Visitor:
    """One session; use it in a `with` block.

    Args:
        url: of the server, `http://127.0.0.1:8501`.
        query: what stands behind the question mark of the page's address.
        seconds: how long a run of the script may take.
    """

    def __init__(self, url: str, query: str = "", seconds: float = 60):
        self.url, self.query, self.seconds = url, query, seconds
        self.session_id = ""
        self.elements: dict[tuple[int, ...], Any] = {}
        self._widgets: dict[str, WidgetState] = {}
        # messages that the server does not send twice, by their hash
        self._known: dict[str, ForwardMsg] = {}

    def __enter__(self) -> "Visitor":
        address = self.url.replace("http://", "ws://") + "/_stcore/stream"
        self._socket = connect(address, subprotocols=["streamlit"], max_size=None, compression=None)
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def run(self) -> float:
        """Runs the script with the widgets as they are, and waits until it has finished.

        Returns:
            Seconds from the request to the end of the script.

        Raises:
            AssertionError: the script did not compile.
            TimeoutError: it took longer than allowed.
        """
        message = BackMsg()
        message.rerun_script.query_string = self.query
        message.rerun_script.widget_states.widgets.extend(self._widgets.values())
        start = time.monotonic()
        self._socket.send(message.SerializeToString())
        while not self._takes(self._receive(start + self.seconds)):
            pass
        return time.monotonic() - start

    def upload(self, label: str, name: str, data: bytes, mime: str = "image/png") -> None:
        """Puts a file into the uploader with this label, in place of the one before; `run` then uses it."""
        uploader = next(e.file_uploader for e in self._drawn("file_uploader") if e.file_uploader.label == label)
        request = BackMsg()
        request.file_urls_request.request_id = str(uuid.uuid4())
        request.file_urls_request.session_id = self.session_id
        request.file_urls_request.file_names.append(name)
        self._socket.send(request.SerializeToString())
        end = time.monotonic() + self.seconds
        while True:
            message = self._receive(end)
            if message.WhichOneof("type") == "file_urls_response":
                break
            self._takes(message)
        (place,) = message.file_urls_response.file_urls
        self._send("PUT", place.upload_url, *_form(name, data, mime))
        before = self._widgets.get(uploader.id)
        state = WidgetState(id=uploader.id)
        info = state.file_uploader_state_value.uploaded_file_info.add(name=name, size=len(data), file_id=place.file_id)
        info.file_urls.CopyFrom(place)
        self._widgets[uploader.id] = state
        for old in before.file_uploader_state_value.uploaded_file_info if before else ():
            self._send("DELETE", old.file_urls.delete_url)

    def texts(self) -> list[str]:
        """Every heading, paragraph, caption and message on the page, in order."""
        found = []
        for element in self._drawn("markdown", "heading", "alert"):
            kind = element.WhichOneof("type")
            found.append(getattr(element, kind).body)
        return found

    def images(self) -> list[bytes]:
        """The pictures on the page, in order, as files."""
        urls = [image.url for element in self._drawn("imgs") for image in element.imgs.imgs]
        return [self.fetch(url) for url in urls]

    def downloads(self) -> dict[str, bytes]:
        """What the download buttons give, by their label."""
        return {e.download_button.label: self.fetch(e.download_button.url) for e in self._drawn("download_button")}

    def fetch(self, path: str) -> bytes:
        """A file of the server."""
        with urllib.request.urlopen(self.url + path, timeout=self.seconds) as answer:
            return answer.read()

    def _drawn(self, *kinds: str) -> Iterator[Any]:
        for _, element in sorted(self.elements.items()):
            if element.WhichOneof("type") in kinds:
                yield element

    def _receive(self, end: float) -> ForwardMsg:
        message = ForwardMsg()
        message.ParseFromString(self._socket.recv(timeout=max(0.001, end - time.monotonic())))
        if message.WhichOneof("type") == "ref_hash":
            known = self._known[message.ref_hash]
            full = ForwardMsg()
            full.CopyFrom(known)
            full.metadata.CopyFrom(message.metadata)
            return full
        if message.hash:
            self._known[message.hash] = message
        return message

    def _takes(self, message: ForwardMsg) -> bool:
        """Draws what a message says; whether it was the last of a run."""
        kind = message.WhichOneof("type")
        if kind == "new_session":
            self.session_id = message.new_session.initialize.session_id
            self.elements.clear()
        elif kind == "delta":
            place = tuple(message.metadata.delta_path)
            delta = message.delta.WhichOneof("type")
            if delta == "new_element":
                self.elements[place] = message.delta.new_element
            elif delta == "add_block":
                inside = [path for path in self.elements if path[: len(place)] == place]
                for path in inside:
                    del self.elements[path]
        elif kind == "script_finished":
            failed = ForwardMsg.FINISHED_WITH_COMPILE_ERROR
            assert message.script_finished != failed, "the script of the page did not compile"
            return message.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY
        return False

    def _send(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> None:
        headers = {"Content-Type": kind} if kind else {}
        request = urllib.request.Request(self.url + path, data=body, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=self.seconds):
            pass


def _form(name: str, data: bytes, mime: str) -> tuple[bytes, str]:
    """A form with one file, and its content type."""
    boundary = uuid.uuid4().hex
    head = (
        f"--{boundary}\r\n"
        f'Content-Disposition: form-data; name="{name}"; filename="{name}"\r\n'
        f"Content-Type: {mime}\r\n\r\n"
    )
    return head.encode() + data + f"\r\n--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"
