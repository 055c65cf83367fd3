"""What the pictures share: colours, text, and images in squares."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

INK, PAPER, NEUTRAL = '#333333', '#ffffff', '#9a9a9a'


def square(image: Any, side: int) -> Image.Image:
    """The image inside a white square, its proportions kept."""
    image = (image if isinstance(image, Image.Image) else Image.fromarray(image)).convert('RGB')
    scale = side / max(image.size)
    size = tuple(max(1, round(s * scale)) for s in image.size)
    image = image.resize(size, Image.Resampling.NEAREST if scale >= 3 else Image.Resampling.BICUBIC)
    canvas = Image.new('RGB', (side, side), PAPER)
    canvas.paste(image, ((side - size[0]) // 2, (side - size[1]) // 2))
    return canvas


def new_figure(width: float, height: float) -> Any:
    """A figure of matplotlib, `width` x `height` inches, that needs no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120, layout='constrained')
    FigureCanvasAgg(figure)
    return figure


def save_figure(picture: Any, out_png: str | os.PathLike) -> Path:
    """Write an image, or a figure of matplotlib, to `out_png`, whose folder is made; returns `out_png`."""
    path = Path(out_png)
    path.parent.mkdir(parents=True, exist_ok=True)
    (picture.save if isinstance(picture, Image.Image) else picture.savefig)(path)
    return path


def hide_frame(panel: Any) -> None:
    """Leave the axes of a panel at its left and its bottom alone."""
    for side in ('top', 'right'):
        panel.spines[side].set_visible(False)


def font(size: int) -> Any:
    """Pillow's own font, `size` pixels high where this Pillow can scale it."""
    try:
        return ImageFont.load_default(size)
    except TypeError:  # Pillow before 10.1, and pillow-simd: one small bitmap font
        return ImageFont.load_default()


def centred(draw: ImageDraw.ImageDraw, text: str, x: int, y: int, width: int, colour: str) -> None:
    """Write `text` in the middle of `width` pixels from `x` on, shortened where it is too long."""
    face = font(13)
    while draw.textlength(text, font=face) > width and len(text) > 2:
        text = text[:-2] + '…' if not text.endswith('…') else text[:-3] + '…'
    draw.text((x + (width - draw.textlength(text, font=face)) / 2, y), text, fill=colour, font=face)
