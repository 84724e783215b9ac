"""Draws a confusion matrix as a picture, for TensorBoard.

Drawn with Pillow, which reads GTZAN's pictures anyway: a plotting library would be the largest
dependency of all for one square of squares.
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
CELL_PX = 52
LEAST_CELL_PX = 9
MATRIX_PX = 1200
"""The matrix is about so large at most: of many classes, cells become smaller."""
COUNTED_PX = 40
"""Cells as large as this hold the share and the count, smaller ones their colour alone."""
FONTS = ("DejaVuSans.ttf", "LiberationSans-Regular.ttf", "Arial Unicode.ttf", "arial.ttf")
"""The first of these that the machine has; Pillow's own font, the last resort, knows little more
than English letters."""
LONGEST_NAME = 24
"""Characters; the middle of a longer name is left out, for names often differ at an end."""


def confusion_image(counts: NDArray[np.int64], names: Sequence[str], *, title: str) -> bytes:
    """A PNG of the matrix: a row is coloured by its shares, and says them in percent, with counts.

    A class without tracks is an empty row.

    Args:
        counts: (n_classes, n_classes); row = true class, column = class that was said.
        names: of the classes.
        title: a line above.

    Raises:
        ValueError: there are more or fewer names than classes.
    """
    n = len(names)
    if counts.shape != (n, n) or n == 0:
        raise ValueError(f"{n} names do not fit counts of shape {counts.shape}")
    font, small = _font(TEXT_PX), _font(TEXT_PX - 3)
    short = [_short(name) for name in names]
    cell = int(np.clip(MATRIX_PX // n, LEAST_CELL_PX, CELL_PX))
    label_font = font if cell >= TEXT_PX + 3 else _font(max(cell - 1, 8))
    widest = int(max(label_font.getlength(name) for name in short)) + 1
    left = MARGIN_PX + TEXT_PX + 12 + widest + 8
    top = MARGIN_PX + TEXT_PX + 14 + widest + 8
    width = max(left + n * cell, MARGIN_PX + int(font.getlength(title))) + MARGIN_PX
    image = Image.new("RGB", (width, top + n * cell + 12 + TEXT_PX + MARGIN_PX), EMPTY)
    draw = ImageDraw.Draw(image)
    draw.text((MARGIN_PX, MARGIN_PX), title, INK, font)
    bottom, middle = top + n * cell, n * cell // 2
    draw.text((left + middle, bottom + 12), "what was said", PALE, small, anchor="ma")
    _draw_upwards(image, (MARGIN_PX, top + middle), "what it is", small, PALE, anchor="mm")
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    for i, name in enumerate(short):
        at = i * cell + cell // 2
        draw.text((left - 8, top + at), name, INK, label_font, anchor="rm")
        _draw_upwards(image, (left + at, top - 8), name, label_font, INK, anchor="lm")
        for j in range(n):
            x, y = left + j * cell, top + i * cell
            colour = _between(float(shares[i, j]))
            draw.rectangle((x, y, x + cell, y + cell), colour, GRID)
            if cell >= COUNTED_PX and counts[i, j]:
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
        except OSError:  # Pillow's word for a font that is not there
            continue
    return ImageFont.load_default(size_px)


def _short(name: str) -> str:
    """A name on one line, of bounded length."""
    line = " ".join(name.split()) or "(no name)"
    if len(line) <= LONGEST_NAME:
        return line
    half = (LONGEST_NAME - 1) // 2
    return f"{line[:half]}…{line[-half:]}"


def _between(share: float) -> Colour:
    """From empty to full; the root makes a few mistakes visible beside many hits."""
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
    """Text turned by a quarter, so that it reads upwards.

    With `anchor` "lm" it begins at `at`, with "mm" its middle is there; its line is centred on x
    for "lm", and begins there for "mm".
    """
    length, height = int(font.getlength(text)) + 2, TEXT_PX + 8
    line = Image.new("L", (length, height))
    ImageDraw.Draw(line).text((0, height // 2), text, 255, font, anchor="lm")
    turned = line.rotate(90, expand=True)  # (height, length) in pixels
    x, y = (at[0] - height // 2, at[1] - length) if anchor == "lm" else (at[0], at[1] - length // 2)
    image.paste(Image.new("RGB", turned.size, ink), (x, y), turned)
