"""Every kind of picture becomes the RGB it shows; what is broken, too large or moving is refused by name."""

from __future__ import annotations

import contextlib
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile

from brainalign.errors import InputError, SettingsError
from brainalign.features.decoding import as_rgb, check_ground, decode

NOISE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


def saved(image, path, **how):
    image.save(path, **how)
    return decode(path)


@pytest.mark.parametrize(
    ("mode", "colour", "shown"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 90, (90, 90, 90)),
        ("LA", (255, 0), (128, 128, 128)),
        ("LA", (200, 255), (200, 200, 200)),
        ("RGB", (1, 2, 3), (1, 2, 3)),
        ("RGBA", (255, 0, 0, 0), (128, 128, 128)),
        ("RGBA", (255, 0, 0, 51), (153, 102, 102)),  # a fifth red: 0.2 × 255 + 0.8 × 128
        ("I;16", 257 * 40, (40, 40, 40)),
    ],
)
def test_each_mode_shows_its_colour(tmp_path, mode, colour, shown):
    found = saved(Image.new(mode, (5, 4), colour), tmp_path / "a.png")
    assert found.shape == (4, 5, 3)
    assert found.dtype == np.uint8
    assert (found == shown).all()


def test_16_bits(tmp_path):
    image = Image.fromarray(np.array([[0, 1000, 1001, 65_535]], np.uint16))
    assert saved(image, tmp_path / "grey.png")[0, :, 0].tolist() == [0, 4, 4, 255]
    image.save(tmp_path / "clear.png", transparency=1000)
    shown = decode(tmp_path / "clear.png", ground=(9, 99, 200))[0]
    assert shown.tolist() == [[0, 0, 0], [9, 99, 200], [4, 4, 4], [255, 255, 255]]
    row = b"\0" + struct.pack(">3H", 0x12FF, 0x1200, 0xFF00)
    parts = {b"IHDR": struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0), b"IDAT": zlib.compress(row), b"IEND": b""}
    chunks = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts.items())
    (tmp_path / "rgb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    assert decode(tmp_path / "rgb.png").tolist() == [[[0x12, 0x12, 0xFF]]]  # the higher byte


def test_cmyk_and_ycbcr(tmp_path):
    assert np.abs(saved(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), tmp_path / "a.jpg") - (0.0, 255, 255)).max() <= 1
    assert np.abs(saved(Image.new("RGB", (8, 8), (200, 60, 30)), tmp_path / "b.jpg") - (200.0, 60, 30)).max() <= 2


def test_float_and_32_bit_tiff(tmp_path):
    assert (saved(Image.new("F", (3, 3), 0.2), tmp_path / "f.tiff") == 51).all()
    assert (saved(Image.new("I", (3, 3), 65_535), tmp_path / "i.tiff") == 255).all()
    with pytest.raises(
        InputError, match=r"picture 'i.tiff' has numbers whose .* are unknown: whole numbers from 70000"
    ):
        saved(Image.new("I", (3, 3), 70_000), tmp_path / "i.tiff")
    with pytest.raises(InputError, match=r"picture 'f.tiff' has numbers whose .* unknown: float32 from 2.0 to 2.0"):
        saved(Image.new("F", (3, 3), 2.0), tmp_path / "f.tiff")


def test_a_palette_and_what_is_transparent_in_it(tmp_path):
    image = Image.new("P", (3, 2), 1)
    image.putpalette([9, 8, 7, 1, 2, 3])
    assert (saved(image, tmp_path / "a.png") == (1, 2, 3)).all()
    assert (saved(image, tmp_path / "b.png", transparency=1) == 128).all()
    assert (saved(Image.new("RGB", (3, 3), (5, 5, 5)), tmp_path / "c.png", transparency=(5, 5, 5)) == 128).all()
    assert (decode(tmp_path / "b.png", ground=(1, 20, 255)) == (1, 20, 255)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_camera_that_was_turned(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = {
        1: NOISE,
        2: NOISE[:, ::-1],
        3: NOISE[::-1, ::-1],
        4: NOISE[::-1],
        5: NOISE.transpose(1, 0, 2),
        6: np.rot90(NOISE, -1),
        7: NOISE[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(NOISE),
    }[orientation]
    assert (saved(Image.fromarray(NOISE), tmp_path / "a.png", exif=exif) == upright).all()


def test_one_pixel(tmp_path):
    assert saved(Image.new("L", (1, 1), 7), tmp_path / "a.png").tolist() == [[[7, 7, 7]]]


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tiff", "a.gif"])
def test_cut_short(tmp_path, name):
    Image.fromarray(NOISE).save(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=rf"picture '{name}' cannot be read"):
        decode(tmp_path / name)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_what_is_no_picture(tmp_path):
    (tmp_path / "a.png").write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(
        InputError, match=r"picture 'b/a.png' cannot be read: .* found 42 bytes that begin with b'version"
    ):
        decode(tmp_path / "a.png", "b/a.png")
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(InputError, match="found an empty file; save it as PNG or JPEG"):
        decode(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"picture 'none.png' cannot be opened: No such file"):
        decode(tmp_path / "none.png")


def test_no_decoder_runs_that_is_not_named(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.eps")  # Ghostscript would run what is in it
    with pytest.raises(InputError, match=r"it is none of AVIF, BMP"):
        decode(tmp_path / "a.eps")


def png_that_says(width, height):
    """A PNG whose header says how large it is, and that has next to nothing in it."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [8_001, 10_000, 60_000])  # Pillow itself is silent, warns, refuses
def test_a_decompression_bomb_is_refused(tmp_path, side):
    before = (Image.MAX_IMAGE_PIXELS, list(warnings.filters))
    (tmp_path / "a.png").write_bytes(png_that_says(side, side))
    with pytest.raises(InputError, match=r"'a.png' is refused, it is larger than 64 megapixels: .*nothing was decoded"):
        decode(tmp_path / "a.png")
    assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters)) == before


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.tiff"])
def test_several_pictures_in_one(tmp_path, name):
    frames = [Image.new("RGB", (4, 4), (k, 0, 0)) for k in (0, 200)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    with pytest.raises(
        InputError, match=rf"'{name}' is not one picture: it is a .* of 2 frames or pages; .*ba.read_film"
    ):
        decode(tmp_path / name)


def test_a_preview_behind_a_photograph_is_passed_over(tmp_path):
    Image.fromarray(NOISE).save(tmp_path / "a.mpo", save_all=True, append_images=[Image.new("RGB", (8, 8))])
    assert decode(tmp_path / "a.mpo").shape == NOISE.shape


@given(st.data())
def test_whatever_the_bytes_only_an_input_error_comes(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("fuzz") / "a"
    kind = data.draw(st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"]))
    Image.fromarray(NOISE[:8, :8]).save(path, format=kind)
    broken = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(broken))
    with contextlib.suppress(InputError):
        assert decode(path).dtype == np.uint8


def test_arrays():
    grey = np.array([[0, 128], [255, 7]], np.uint8)
    assert (as_rgb(grey, "a") == grey[:, :, None]).all()
    assert (as_rgb(grey[:, :, None], "a") == as_rgb(grey, "a")).all()
    assert (as_rgb(grey.astype(np.uint16) * 257, "a") == as_rgb(grey, "a")).all()
    assert (as_rgb(grey / 255, "a") == as_rgb(grey, "a")).all()
    assert (as_rgb(grey > 100, "a")[..., 0] == [[0, 255], [255, 0]]).all()
    clear = np.concatenate([NOISE, np.full((40, 60, 1), 255, np.uint8)], axis=2)
    assert (as_rgb(clear, "a") == NOISE).all()


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((3, 4, 2)), r"picture 0 has shape \(3, 4, 2\): a picture is"),
        (np.zeros((0, 4, 3)), r"shape \(0, 4, 3\)"),
        (np.full((2, 2), 3.0), "float64 from 3.0 to 3.0; give uint8"),
        (np.full((2, 2), np.nan), "float64 from nan to nan"),
        (np.full((2, 2), 3), "int64 from 3 to 3"),
    ],
    ids=["channels", "empty", "above one", "nan", "int64"],
)
def test_arrays_that_are_no_pictures(array, said):
    with pytest.raises(InputError, match=said):
        as_rgb(array, "picture 0")


@pytest.mark.parametrize("ground", [(0, 0), 128, (0, 0, 256), "white", (0.5, 0, 0)], ids=str)
def test_a_ground_that_is_no_colour(ground):
    with pytest.raises(SettingsError, match="ground is"):
        check_ground(ground)
