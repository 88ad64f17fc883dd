"""A canvas that pictures are drawn on: boxes, lines and texts, as PNG inside Markdown.

By Pillow, since each run of a month draws: it is imported and has drawn in a twentieth of the time
that matplotlib takes to be imported. What is drawn, and where, is for the pictures to say.
"""

from io import BytesIO

import dagster as dg
from PIL import Image, ImageColor, ImageDraw, ImageFont

from taxi_pipeline.assets.pictures import INK, png_as_markdown

_SCALE = 2  # drawn so many times as large, then made smaller: letters and slopes get even edges
_OPACITIES = 51  # of the edges' pixels, besides none


class Canvas:
    """A transparent picture. Places are in pixels from the upper left corner."""

    def __init__(self, width: int, height: int) -> None:
        self._colours = {INK}
        # of the ink's colour, which the edges of letters get, too
        self._image = Image.new("RGBA", (width * _SCALE, height * _SCALE), f"{INK}00")
        self._draw = ImageDraw.Draw(self._image)

    def box(self, left: float, top: float, right: float, bottom: float, colour: str = INK) -> None:
        """Fill a box; one that is too thin to be seen is as thin as can be seen."""
        self._colours.add(colour)
        x, y = round(left * _SCALE), round(top * _SCALE)
        to_x, to_y = (round(right * _SCALE), round(bottom * _SCALE))
        # Pillow takes the last pixel for one of the box
        self._draw.rectangle((x, y, max(to_x, x + _SCALE) - 1, max(to_y, y + _SCALE) - 1), colour)

    def text(self, x: float, y: float, text: str, size: int, anchor: str) -> None:
        """Write a text in the ink.

        Args:
            x: Where its anchor is.
            y: Where its anchor is.
            text: The text.
            size: Of its letters, in pixels.
            anchor: Which point of the text lies there, by Pillow's two letters: "ls" is the left
                end of its baseline, "mm" the middle.
        """
        self._draw.text((x * _SCALE, y * _SCALE), text, INK, _font(size), anchor)

    def upright_text(self, x: float, y: float, text: str, size: int) -> None:
        """Write a text in the ink from below to above, with its middle at that place."""
        left, top, right, bottom = self._draw.textbbox((0, 0), text, _font(size), "ls")
        lying = Image.new("RGBA", (int(right - left), int(bottom - top)), f"{INK}00")
        ImageDraw.Draw(lying).text((-left, -top), text, INK, _font(size), "ls")
        standing = lying.transpose(Image.Transpose.ROTATE_90)
        place = (round(x * _SCALE - standing.width / 2), round(y * _SCALE - standing.height / 2))
        self._image.alpha_composite(standing, place)

    def as_markdown(self, alt: str) -> dg.MarkdownMetadataValue:
        """Return what is drawn as Markdown that carries its PNG within; `alt` is it in words."""
        image, png = self._image.reduce(_SCALE), BytesIO()
        # as a PNG half as large: of the edges' mixtures the nearest colours, in a few opacities
        colours = Image.new("P", (1, 1))
        colours.putpalette([part for c in self._colours for part in ImageColor.getrgb(c)])
        plain = image.convert("RGB").quantize(palette=colours, dither=Image.Dither.NONE)
        plain = plain.convert("RGB")
        step = 255 // _OPACITIES
        plain.putalpha(image.getchannel("A").point([round(a / step) * step for a in range(256)]))
        plain.save(png, "PNG")
        return png_as_markdown(png.getvalue(), alt)


def _font(size: int) -> "ImageFont.FreeTypeFont | ImageFont.ImageFont":
    return ImageFont.load_default(size * _SCALE)
