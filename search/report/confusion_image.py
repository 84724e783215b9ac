"""Confusion matrix as a PNG image, for TensorBoard.

Drawn with Pillow, which is needed for GTZAN's images anyway: a plotting library would be the
largest dependency of all, for one chart.
"""

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

EMPTY: Colour = (255, 255, 255)
FULL: Colour = (8, 64, 129)
INK: Colour = (30, 30, 30)
PALE: Colour = (120, 120, 120)
GRID: Colour = (222, 222, 222)

MARGIN_PX = 16
TEXT_PX = 15
MAX_CELL_PX = 52
MIN_CELL_PX = 9
MAX_MATRIX_PX = 1200
"""Approximate largest side of the matrix: with many classes, cells become smaller."""
MIN_LABELLED_CELL_PX = 40
"""Cells from this size on show share and count, smaller ones only their colour."""
FONTS = ("DejaVuSans.ttf", "LiberationSans-Regular.ttf", "Arial Unicode.ttf", "arial.ttf")
"""The first one that is installed is used; Pillow's own font, the fallback, has little more than
English letters."""
MAX_LABEL_LENGTH = 24
"""In characters; the middle of a longer name is left out, as names often differ at an end."""


def confusion_image(
    counts: NDArray[np.int64],
    names: Sequence[str],
    *,
    title: str,
    totals: NDArray[np.int64] | None = None,
) -> bytes:
    """A PNG of the matrix: cells are coloured by their share of the row, with percent and count.

    A class without tracks is an empty row.

    Args:
        counts: (n_classes, n_classes); row = true class, column = predicted class.
        names: of the classes.
        title: the line above the matrix.
        totals: (n_classes, n_classes) what each count is a share of, where tracks have several
            labels: see `search.statistics.label_confusion`. By default the sum of its row.

    Raises:
        ValueError: the number of names is not the number of classes.
    """
    n = len(names)
    if counts.shape != (n, n) or n == 0:
        raise ValueError(f"{n} names do not fit counts of shape {counts.shape}")
    font, small = _font(TEXT_PX), _font(TEXT_PX - 3)
    short = [_short(name) for name in names]
    cell = int(np.clip(MAX_MATRIX_PX // n, MIN_CELL_PX, MAX_CELL_PX))
    label_font = font if cell >= TEXT_PX + 3 else _font(max(cell - 1, 8))
    widest = int(max(label_font.getlength(name) for name in short)) + 1
    left = MARGIN_PX + TEXT_PX + 12 + widest + 8
    top = MARGIN_PX + TEXT_PX + 14 + widest + 8
    width = max(left + n * cell, MARGIN_PX + int(font.getlength(title))) + MARGIN_PX
    image = Image.new("RGB", (width, top + n * cell + 12 + TEXT_PX + MARGIN_PX), EMPTY)
    draw = ImageDraw.Draw(image)
    draw.text((MARGIN_PX, MARGIN_PX), title, INK, font)
    bottom, middle = top + n * cell, n * cell // 2
    word = "class" if totals is None else "label"
    draw.text((left + middle, bottom + 12), f"predicted {word}", PALE, small, anchor="ma")
    _draw_upwards(image, (MARGIN_PX, top + middle), f"true {word}", small, PALE, anchor="mm")
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True) if totals is None else totals, 1)
    for i, name in enumerate(short):
        at = i * cell + cell // 2
        draw.text((left - 8, top + at), name, INK, label_font, anchor="rm")
        _draw_upwards(image, (left + at, top - 8), name, label_font, INK, anchor="lm")
        for j in range(n):
            x, y = left + j * cell, top + i * cell
            colour = _between(float(shares[i, j]))
            draw.rectangle((x, y, x + cell, y + cell), colour, GRID)
            if cell >= MIN_LABELLED_CELL_PX and counts[i, j]:
                ink = EMPTY if shares[i, j] > 0.5 else INK
                centre = x + cell // 2
                percent = f"{100 * shares[i, j]:.0f}%"
                draw.text((centre, y + cell // 2 - 1), percent, ink, font, anchor="mb")
                draw.text((centre, y + cell // 2 + 4), str(counts[i, j]), ink, small, anchor="mt")
    png = io.BytesIO()
    image.save(png, "PNG")
    return png.getvalue()


def _font(size_px: int) -> Font:
    for name in FONTS:
        try:
            return ImageFont.truetype(name, size_px)
        except OSError:  # raised by Pillow for a missing font
            continue
    return ImageFont.load_default(size_px)


def _short(name: str) -> str:
    """A name on one line, of bounded length."""
    line = " ".join(name.split()) or "(no name)"
    if len(line) <= MAX_LABEL_LENGTH:
        return line
    half = (MAX_LABEL_LENGTH - 1) // 2
    return f"{line[:half]}…{line[-half:]}"


def _between(share: float) -> Colour:
    """Interpolates from `EMPTY` to `FULL`; the exponent keeps small shares visible."""
    mixed = [round(a + (b - a) * share**0.6) for a, b in zip(EMPTY, FULL, strict=True)]
    return mixed[0], mixed[1], mixed[2]


def _draw_upwards(
    image: Image.Image,
    at: tuple[int, int],
    text: str,
    font: Font,
    ink: Colour,
    *,
    anchor: str,
) -> None:
    """Text rotated by 90 degrees, reading upwards.

    With `anchor` "lm" it begins at the y of `at` and is centred on its x; with "mm" its middle is
    at that y and its line begins at that x.
    """
    length, height = int(font.getlength(text)) + 2, TEXT_PX + 8
    line = Image.new("L", (length, height))
    ImageDraw.Draw(line).text((0, height // 2), text, 255, font, anchor="lm")
    rotated = line.rotate(90, expand=True)  # (height, length) in pixels
    x, y = (at[0] - height // 2, at[1] - length) if anchor == "lm" else (at[0], at[1] - length // 2)
    image.paste(Image.new("RGB", rotated.size, ink), (x, y), rotated)
