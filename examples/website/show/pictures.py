"""Photos to upload, made here: big, colourful and different from each other."""

from __future__ import annotations

import io
import random

from PIL import Image, ImageChops, ImageDraw


def photo(number: int, width: int = 3000, height: int = 2000) -> bytes:
    """Return a JPEG: a sky, a hill or three, and grain as of a camera."""
    dice = random.Random(number)
    dusk, dawn = ((dice.randint(20, 200), dice.randint(60, 200), dice.randint(120, 255)) for _ in range(2))
    ramp = Image.linear_gradient("L").resize((width, height))
    picture = Image.composite(Image.new("RGB", (width, height), dawn), Image.new("RGB", (width, height), dusk), ramp)
    draw = ImageDraw.Draw(picture)
    for layer in range(3):
        ground = height * (5 + layer) // 8
        green = (30, dice.randint(70, 150) - 20 * layer, dice.randint(40, 80))
        line = [(x, ground + dice.randint(-height // 10, height // 10)) for x in range(0, width + 200, 200)]
        draw.polygon([(0, height), *line, (width, height)], fill=green)
    x, y, r = dice.randint(0, width), dice.randint(0, height // 3), height // 14
    draw.ellipse((x - r, y - r, x + r, y + r), fill=(255, 240, dice.randint(120, 220)))
    grain = Image.effect_noise((width // 4, height // 4), 24).resize((width, height)).convert("RGB")
    file = io.BytesIO()
    ImageChops.overlay(picture, grain).save(file, "JPEG", quality=88)
    return file.getvalue()
