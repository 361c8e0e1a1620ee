"""How does a picture, as a file or an array has it, become plain RGB pixels?

What every picture goes through: EXIF orientation is applied; grey is repeated in all three channels; 16 bits become 8
(grey and arrays: divided by 257; colour in files: the high byte, as Pillow reads it); what is transparent is laid on a
ground (but for the one colour that a 16-bit RGB PNG may call so, which Pillow does not find); CMYK, YCbCr and HSV are
converted by Pillow's formulae and palettes looked up. Colour profiles are not applied: pixels are taken as sRGB.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from brainalign.errors import InputError, SettingsError, need_package

METHOD = 2  # counts up when the same file would give other pixels
MID_GREY = (128, 128, 128)
MAX_MEGAPIXELS = 64  # of a picture or a frame: 192 MB as RGB
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")  # no other decoder sees a file


def decode(path: str | Path, name: str | None = None, ground: Sequence[int] = MID_GREY) -> np.ndarray:
    """The pixels of a picture's file.

    Parameters
    ----------
    path : path
        AVIF, BMP, GIF, JPEG, JPEG 2000, PNG, PPM/PGM/PBM, TIFF or WebP; whatever it is called.
    name : str, optional
        What it is called in messages; default its file name.
    ground : (red, green, blue), 0 to 255
        What is seen where it is transparent.

    Returns
    -------
    (height, width, 3) uint8 RGB

    Raises
    ------
    InputError
        No such picture; one that is broken, cut short, animated or of several pages; more than 64 megapixels, which is
        said by its header and refused before anything is decoded; numbers whose scale is unknown.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("L", (4, 2), 200).save(f"{folder}/grey.png")
    ...     decode(f"{folder}/grey.png")[0, 0].tolist()
    [200, 200, 200]
    """
    need_package("PIL", extra="vision", what="reading pictures")
    from PIL import Image, ImageOps

    path = Path(path)
    name = name or path.name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # remarks on what is odd in a file and does not change its pixels
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            image = Image.open(path, formats=FORMATS)
            n_frames = getattr(image, "n_frames", 1)
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise _too_large(name, f"Pillow says '{error}'") from error
        except Exception as error:  # decoders raise nearly anything when a file is broken
            raise _unreadable(name, path, error) from error
        with image:
            check_size(image.width, image.height, name)
            if n_frames > 1 and image.format != "MPO":  # which is a camera's JPEG with a preview behind it
                raise InputError(
                    f"picture {name!r} is not one picture: it is a {image.format} of {n_frames} frames or pages; open "
                    "an animated GIF or PNG with ba.read_film, or save the frame that was shown as a picture of its own"
                )
            found = f"it begins as {image.format}, {image.width} × {image.height} pixels"
            try:
                image.load()
            except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
                raise _too_large(name, f"it holds more than its header says ('{error}')") from error
            except Exception as error:
                raise InputError(
                    f"picture {name!r} cannot be read to its end: {found}, and then Pillow says '{error}'; it may not "
                    "have been copied whole: copy it again, or leave it out"
                ) from error
            try:
                image = ImageOps.exif_transpose(image)
            except Exception:  # what is broken is the EXIF data alone, which no longer says how the camera was held
                image = image.copy()
            return _pixels(image, name, ground)


def as_rgb(array: np.ndarray, name: str, ground: Sequence[int] = MID_GREY) -> np.ndarray:
    """The pixels of a picture that is an array already.

    Parameters
    ----------
    array : (height, width) or (height, width, 1, 3 or 4)
        uint8; uint16, of which 65,535 is white; float from 0 to 1; or bool. A fourth channel says how opaque it is.
    name : str
        What it is called in messages.
    ground : (red, green, blue), 0 to 255
        What is seen where it is transparent.

    Returns
    -------
    (height, width, 3) uint8 RGB

    Raises
    ------
    InputError
        Another shape, no pixels, or numbers whose scale is unknown.

    Examples
    --------
    >>> as_rgb(np.array([[0.0, 1.0]]), "an edge").tolist()
    [[[0, 0, 0], [255, 255, 255]]]
    """
    array = np.asarray(array)
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))) or array.size == 0:
        raise InputError(
            f"{name} has shape {array.shape}: a picture is (height, width) or (height, width, 1, 3 or 4), channels last"
        )
    pixels = _as_bytes(array, name)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.shape[2] == 4:
        opaque = pixels[:, :, 3:].astype(np.float32) / 255
        mixed = opaque * pixels[:, :, :3] + (1 - opaque) * np.asarray(ground, np.float32)
        return np.rint(mixed).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def is_number(value: Any) -> bool:
    """Whether a setting is a real number."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def check_ground(ground: Sequence[int]) -> tuple[int, ...]:
    """A ground as three whole numbers, or what is wrong with it."""
    numbers = [ground] if isinstance(ground, (int, float, str)) else list(ground)
    if len(numbers) != 3 or any(isinstance(g, str) or g != int(g) or not 0 <= g <= 255 for g in numbers):
        raise SettingsError(f"ground is (red, green, blue), whole numbers from 0 to 255; found {ground!r}")
    return tuple(int(g) for g in numbers)


def check_size(width: int, height: int, name: str) -> None:
    """Refuse what is larger than 64 megapixels."""
    if width * height > MAX_MEGAPIXELS * 1_000_000:
        raise _too_large(name, f"its header says {width:,} × {height:,}, {width * height / 1e6:,.0f} megapixels")


def _too_large(name: str, found: str) -> InputError:
    return InputError(
        f"{name!r} is refused, it is larger than {MAX_MEGAPIXELS} megapixels: {found}; nothing was decoded. If it is "
        "what it seems, save it smaller"
    )


def _unreadable(name: str, path: Path, error: Exception) -> InputError:
    from PIL import UnidentifiedImageError

    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as problem:
        return InputError(f"picture {name!r} cannot be opened: {problem.strerror}; check the path and who may read it")
    size = path.stat().st_size
    found = f"{size:,} bytes that begin with {head!r}" if size else "an empty file"
    said = "" if isinstance(error, UnidentifiedImageError) else f" (Pillow says '{error}')"
    return InputError(
        f"picture {name!r} cannot be read: it is none of {', '.join(FORMATS)}, or broken; found {found}{said}; save it "
        "as PNG or JPEG, copy it again, or leave it out. A film is opened with ba.read_film"
    )


def _pixels(image: Any, name: str, ground: Sequence[int]) -> np.ndarray:
    """Of a Pillow image that is decoded."""
    if image.mode == "I":  # 16-bit PGM and TIFF may come as 32
        numbers = np.asarray(image)
        if numbers.min() < 0 or numbers.max() > 0xFFFF:
            raise _no_scale(f"picture {name!r}", f"whole numbers from {numbers.min()} to {numbers.max()}")
        return as_rgb(numbers.astype(np.uint16), f"picture {name!r}", ground)
    if image.mode == "F" or image.mode.startswith("I;16"):
        numbers = np.asarray(image)
        numbers = numbers.astype(numbers.dtype.newbyteorder("="))
        if isinstance(image.info.get("transparency"), int):  # the one grey that a PNG calls so
            opaque = np.where(numbers == image.info["transparency"], 0, 0xFFFF).astype(numbers.dtype)
            numbers = np.stack([numbers, numbers, numbers, opaque], axis=-1)
        return as_rgb(numbers, f"picture {name!r}", ground)
    try:
        return as_rgb(np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB")), name, ground)
    except ValueError as error:
        raise InputError(
            f"picture {name!r} has colours that Pillow cannot convert: mode {image.mode} ({error}); save it as RGB"
        ) from error


def _as_bytes(array: np.ndarray, name: str) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype == np.uint16:
        return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    low, high = array.min(), array.max()
    if np.issubdtype(array.dtype, np.floating) and low >= 0 and high <= 1:  # false if there is a NaN
        return np.rint(array.astype(np.float64) * 255).astype(np.uint8)
    raise _no_scale(name, f"{array.dtype} from {low} to {high}")


def _no_scale(name: str, found: str) -> InputError:
    return InputError(
        f"{name} has numbers whose black and white are unknown: {found}; give uint8 (0 to 255), uint16 (0 to 65,535) "
        "or float from 0 to 1"
    )
