import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chorale.datasets.catalog import gtzan_images
from chorale.datasets.catalog.gtzan_images import Config
from chorale.datasets.errors import UserError
from chorale.datasets.tables.gtzan_tracks import GTZAN_GENRES


def picture(folder: Path, name: str, *, mode: str = "RGBA") -> Path:
    path = folder / name[:-9] / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((2, 3, 4), np.uint8)
    pixels[0, 0] = (255, 0, 51, 128)
    Image.fromarray(pixels, "RGBA").convert(mode).save(path)
    return path


def png_header(path: Path, width: int, height: int) -> Path:
    """A PNG that claims a size but contains only a few pixels."""
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0),
        b"IDAT": zlib.compress(bytes(100)),
        b"IEND": b"",
    }
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in chunks.items():
        content += struct.pack(">I", len(data)) + kind + data
        content += struct.pack(">I", zlib.crc32(kind + data))
    path.write_bytes(content)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        gtzan_images.load(path, Config("."))
    return str(caught.value)


def test_a_row_is_an_image_named_as_its_clip(tmp_path: Path) -> None:
    for name in ("blues00000.png", "rock00016.png", "metal00058.png"):
        picture(tmp_path / "images_original", name)
    (tmp_path / "images_original" / "blues" / "._blues00001.png").write_bytes(b"")
    table = gtzan_images.tracks(Config(str(tmp_path)))
    assert table["track_id"].tolist() == ["blues.00000", "rock.00016"]
    assert table["group"].tolist() == ["artist-001", "artist-233"]
    assert table["split"].tolist() == ["valid", "train"]
    assert all(Path(path).is_file() for path in table["path"])


def test_the_image_that_no_copy_has_is_not_logged_as_missing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for genre in GTZAN_GENRES:
        (tmp_path / genre).mkdir()
        for number in range(100):
            (tmp_path / genre / f"{genre}{number:05d}.png").write_bytes(b"")
    (tmp_path / "jazz" / "jazz00054.png").unlink()
    assert len(gtzan_images.tracks(Config(str(tmp_path), protocol="all"))) == 999
    assert not caplog.text


def test_an_image_is_channels_first_between_0_and_1(tmp_path: Path) -> None:
    pixels = gtzan_images.load(picture(tmp_path, "blues00000.png"), Config("."))
    assert pixels.dtype == np.float32
    assert pixels.shape == (4, 2, 3)
    assert pixels[:, 0, 0] == pytest.approx([1.0, 0.0, 0.2, 128 / 255])
    assert not pixels[:, 1].any()


def test_grey_is_the_brightness(tmp_path: Path) -> None:
    pixels = gtzan_images.load(picture(tmp_path, "blues00000.png"), Config(".", grey=True))
    assert pixels.shape == (1, 2, 3)
    assert pixels[0, 0, 0] == pytest.approx(0.299 + 0.114 * 0.2, abs=1 / 255)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "LA"])
@pytest.mark.parametrize(("grey", "n_channels"), [(False, 4), (True, 1)])
def test_other_pixel_modes_give_the_same_number_of_channels(
    tmp_path: Path, mode: str, grey: bool, n_channels: int
) -> None:
    pixels = gtzan_images.load(
        picture(tmp_path, "blues00000.png", mode=mode), Config(".", grey=grey)
    )
    assert pixels.shape == (n_channels, 2, 3)


@pytest.mark.parametrize(
    ("width", "height", "why"),
    [
        (432, 288, "truncated"),
        (5_000, 288, "5000 x 288 pixels, above 4096"),
        (432, 5_000, "432 x 5000 pixels, above 4096"),
        (30_000, 20_000, "decompression bomb"),
    ],
)
def test_an_image_that_claims_too_many_pixels_raises(
    tmp_path: Path, width: int, height: int, why: str
) -> None:
    assert why in refusal(png_header(tmp_path / "a.png", width, height))


def test_the_size_is_checked_before_any_pixel_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(self: Image.Image) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", decode)
    assert "above 4096" in refusal(png_header(tmp_path / "a.png", 5_000, 5_000))


@pytest.mark.parametrize("n_bytes", [0, 10, 40, 1000])
def test_a_truncated_image_raises(tmp_path: Path, n_bytes: int) -> None:
    path = tmp_path / "a.png"
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 4), dtype=np.uint8)
    Image.fromarray(noise, "RGBA").save(path)
    path.write_bytes(path.read_bytes()[:n_bytes])
    assert "no usable PNG" in refusal(path)


def test_another_format_named_png_raises(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (4, 4)).save(path, format="BMP")
    assert "no usable PNG" in refusal(path)


def test_pixels_of_16_bits_raise_instead_of_being_clipped(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(path)
    assert "its pixel mode is I;16" in refusal(path)


def test_no_image_at_all_raises_with_the_expected_layout(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"images_original/blues/blues00000\.png"):
        gtzan_images.tracks(Config(str(tmp_path)))
