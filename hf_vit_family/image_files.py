# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Which image files a list of files and folders means."""

import re
from collections.abc import Iterable
from pathlib import Path

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pnm", ".jfif")


def find_images(paths: Iterable[str | Path]) -> list[Path]:
    """Image files: those given, and those in the folders given and below, each once, folders in natural order.

    Files given by name are taken whatever they are called; in folders the ending decides, and hidden files are left
    out.

    Raises:
        ValueError: a path that does not exist, or no image at all.
    """
    found: dict[Path, None] = {}
    given = [Path(path).expanduser() for path in paths]
    for path in given:
        if path.is_dir():
            inside = (file for file in path.rglob("*") if file.suffix.lower() in IMAGE_ENDINGS and file.is_file())
            visible = (
                file for file in inside if not any(part.startswith(".") for part in file.relative_to(path).parts)
            )
            found.update(dict.fromkeys(sorted(visible, key=_natural)))
        elif path.exists():
            found[path] = None
        else:
            raise ValueError(f"There is no file or folder {path}.")
    if not found:
        raise ValueError(f"There is no image in {', '.join(map(str, given))}; looked for {', '.join(IMAGE_ENDINGS)}.")
    return list(found)


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Sorts `image2` before `image10`."""
    parts = re.split(r"(\d+)", str(path).lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
