"""Picture files: which of them a folder holds, in which order, how large they are, and their pixels."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nbpkg.errors import MediaError

ENDINGS = (".ppm", ".jpg", ".jpeg", ".png", ".bmp")
# Only these readers are tried, whatever the file's name: Pillow knows formats that start other programs.
_FORMATS = ("PPM", "JPEG", "PNG", "BMP")
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, Image.DecompressionBombError)
_DIGITS = re.compile(r"([0-9]+)")


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Return what to sort names by so that numbers in them count as numbers.

    Examples
    --------
    >>> sorted(["10.jpg", "9.jpg", "b2.ppm", "B10.ppm"], key=natural_key)
    ['9.jpg', '10.jpg', 'b2.ppm', 'B10.ppm']
    """
    parts = _DIGITS.split(name.lower())
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], name


def is_picture(name: str) -> bool:
    """Tell whether a file name is that of a picture: a known ending, any case, not hidden.

    Examples
    --------
    >>> [is_picture(name) for name in ("00000000.ppm", "IMG_1.JPG", "data.log", "._00000000.ppm")]
    [True, True, False, False]
    """
    return not name.startswith(".") and Path(name).suffix.lower() in ENDINGS


def list_pictures(folder: Path) -> list[Path]:
    """List the picture files of a folder in natural order; log files, hidden files and folders are left out.

    Raises
    ------
    MediaError
        When the folder is not there or holds no picture.
    """
    if not folder.is_dir():
        raise MediaError(
            f"There is no picture folder {folder.name!r}.",
            where=str(folder),
            expected="A folder with one file per frame.",
            remedy="Check the data folder's path.",
        )
    pictures = [path for path in folder.iterdir() if is_picture(path.name) and path.is_file()]
    if not pictures:
        raise MediaError(
            f"Folder {folder.name!r} holds no picture.",
            where=str(folder),
            expected=f"Files that end in {', '.join(ENDINGS)}.",
            remedy="Choose the folder with the frames themselves, or convert the pictures to one of these formats.",
        )
    return sorted(pictures, key=lambda path: natural_key(path.name))


def read_size(file: Path) -> tuple[int, int]:
    """Return height and width of a picture, pixels, as stored; only its header is read.

    Raises
    ------
    MediaError
        When the file is no picture.
    """
    with _naming(file), file.open("rb") as stream, Image.open(stream, formats=_FORMATS) as image:
        return image.height, image.width


def shrunk_size(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """Return the size of a picture whose longer side may be at most `longest` pixels; 0 leaves it.

    Examples
    --------
    >>> shrunk_size((2160, 3840), 960), shrunk_size((480, 640), 960)
    ((540, 960), (480, 640))
    """
    if not longest or max(size) <= longest:
        return size
    height, width = (max(1, round(side * longest / max(size))) for side in size)
    return height, width


def decode_picture(data: bytes, file: Path, *, longest: int = 0) -> NDArray[np.uint8]:
    """Decode one picture as stored: a rotation noted in the file is not applied, as boxes count stored pixels.

    Parameters
    ----------
    data
        The file's bytes.
    file
        Its name, for errors.
    longest
        Longer side, pixels, to which a larger picture is resized while it is decoded; 0 for none.

    Returns
    -------
    ndarray
        uint8 RGB ``[H, W, 3]``. Of 16 bits the upper eight are kept.

    Raises
    ------
    MediaError
        When the file is no picture, is cut short or damaged.
    """
    with _naming(file), Image.open(BytesIO(data), formats=_FORMATS) as image:
        height, width = shrunk_size((image.height, image.width), longest)
        smaller = (height, width) != (image.height, image.width)
        if smaller:
            image.draft(None, (2 * width, 2 * height))  # a JPEG is decoded at 1/2, 1/4 or 1/8 where that is enough
        image.load()
        plain = _to_rgb(image)
        if smaller:
            plain = plain.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)
        return np.array(plain)


def check_picture(data: bytes, file: Path) -> None:
    """Decode a picture as coarsely as its format allows, to learn whether it is whole.

    Raises
    ------
    MediaError
        As in `decode_picture`.
    """
    with _naming(file), Image.open(BytesIO(data), formats=_FORMATS) as image:
        image.draft(None, (1, 1))
        image.load()


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    """Turn whatever a decoder says into one error that names the file."""
    try:
        yield
    except FileNotFoundError:
        raise missing_picture(file) from None
    except _DAMAGE as error:
        raise MediaError(
            f"Picture {file.name!r} cannot be read ({error}).",
            where=str(file),
            expected="A whole PPM, JPEG, PNG or BMP file.",
            remedy="Copy the file again, or take it out of the folder.",
        ) from None


def missing_picture(file: Path) -> MediaError:
    """Say that a picture is not there."""
    return MediaError(
        f"Picture {file.name!r} is not there.",
        where=str(file),
        remedy="Put it back, or run the preparation again.",
    )
