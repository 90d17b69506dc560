"""Read an archive of small pictures, one folder for each class, without unpacking it to disk."""

from __future__ import annotations

import io
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.data.dataset import listed
from harness.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_REPORT_EVERY = 500


def read_archive(
    file: Path,
    size: tuple[int, int],
    mode: str,
    take: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] = lambda picture: picture,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[list[str], NDArray[np.uint8]]:
    """Return the names ``label/file.jpg`` of a .tar.xz's pictures, and the pictures.

    Args:
        size: Height and width that every picture has.
        mode: Pillow's: "L" or "RGB".
        take: What is kept of each picture.
        on_progress: Called with the bytes of the archive that are read, and all.

    Raises:
        DataError: The archive or pictures in it cannot be read, or have another size.
    """
    import numpy as np

    names, pictures, problems = [], [], []
    total = file.stat().st_size
    try:
        with (
            file.open("rb") as raw,
            # `tarfile` itself takes an archive that was cut short for one that ends there.
            lzma.open(raw) as unpacked,
            tarfile.open(fileobj=unpacked, mode="r|") as archive,
        ):
            for member in archive:
                if not member.isfile() or (stream := archive.extractfile(member)) is None:
                    continue
                name = member.name.removeprefix("./")
                picture = _decode(stream.read(), size, mode)
                if isinstance(picture, str):
                    problems.append(f"{name}: {picture}")
                    continue
                names.append(name)
                pictures.append(take(picture))
                if on_progress is not None and not len(names) % _REPORT_EVERY:
                    on_progress(raw.tell(), total)
    except (OSError, EOFError, tarfile.TarError, lzma.LZMAError) as failure:
        raise DataError(
            f"not a readable archive ({failure or 'it ends too soon'})",
            where=str(file),
            expected="a .tar.xz of pictures, complete",
            fix="fetch it again",
        ) from None
    problems += [f"{name}: in no class's folder" for name in names if name.count("/") != 1]
    if problems or not names:
        height, width = size
        raise DataError(
            listed("bad file", problems or ["the archive is empty"]),
            where=str(file),
            expected=f"pictures of {width}×{height} pixels in a folder for each class",
            problems=problems,
        )
    return names, np.stack(pictures)


def _decode(content: bytes, size: tuple[int, int], mode: str) -> NDArray[Any] | str:
    """Return the pixels, or why there are none."""
    import numpy as np
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.size != (size[1], size[0]):
                return f"{image.size[0]}×{image.size[1]} pixels"
            return np.asarray(image if image.mode == mode else image.convert(mode))
    except (OSError, ValueError, SyntaxError) as failure:  # Pillow raises all of these
        return f"not a readable image ({failure})"
