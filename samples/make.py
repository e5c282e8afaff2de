"""Draw the samples: `python -m samples.make`. The same pictures every time."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi, sin

from PIL import Image

from samples import FOLDER, HATS
from samples.canvas import Canvas
from streamapp.engines.marker import SKINS, Color

WIDTH, HEIGHT = 640, 480
QUALITY = 88
WHITE: Color = (252, 252, 250)
TRUNK: Color = (92, 70, 44)


def draw() -> dict[str, Image.Image]:
    """All samples by name."""
    return {name: picture() for name, picture in PICTURES.items()}


def beach() -> Image.Image:
    canvas = _shore()
    _palm(canvas, 92, 430, 250)
    _parasol(canvas, 470, 420, 150, (214, 50, 56))
    canvas.polygon([(300, 436), (396, 428), (412, 448), (310, 458)], (52, 128, 200))
    canvas.polygon([(326, 434), (344, 432), (357, 453), (338, 455)], WHITE)
    return canvas.finish()


def beach_people() -> Image.Image:
    canvas = _shore()
    _parasol(canvas, 96, 400, 140, (30, 130, 190))
    _person(canvas, 210, 420, 176, SKINS[0], (206, 44, 60), (84, 52, 28))
    _person(canvas, 300, 404, 158, SKINS[2], (246, 200, 40), (30, 24, 26))
    _person(canvas, 394, 438, 190, SKINS[1], (34, 108, 200), (46, 32, 26))
    _person(canvas, 520, 410, 166, SKINS[0], (36, 150, 90), (190, 150, 70))
    canvas.circle(456, 446, 17, WHITE)
    for start, color in ((0, (214, 50, 56)), (120, (44, 120, 210)), (240, (248, 200, 40))):
        canvas.pie(456, 446, 17, 17, start, start + 60, color)
    return canvas.finish()


def beach_sunset() -> Image.Image:
    canvas = Canvas(WIDTH, HEIGHT)
    canvas.gradient(0, 232, (74, 62, 122), (190, 88, 124), (246, 136, 92), (255, 190, 96))
    for x, y, rx in ((120, 70, 90), (200, 84, 70), (500, 52, 100), (560, 110, 80), (60, 140, 60)):
        canvas.ellipse(x, y, rx, 7, (222, 120, 120))
    canvas.circle(320, 226, 58, (255, 206, 110))
    canvas.circle(320, 226, 46, (255, 232, 150))
    canvas.gradient(232, 330, (112, 112, 150), (60, 82, 124))
    for step in range(9):  # the sun in the water
        half, y = 50 - 4.5 * step, 238 + 10 * step
        canvas.rectangle(320 - half, y, 320 + half, y + 4, (252, 196, 112), radius=2)
    canvas.below(lambda x: 326 + 6 * sin(x / 55), (232, 214, 206))
    canvas.below(lambda x: 334 + 6 * sin(x / 55), (206, 172, 120))
    _palm(canvas, 590, 440, 270)
    _person(canvas, 44, 400, 110, SKINS[2], (60, 60, 110), (30, 24, 26))
    _person(canvas, 96, 396, 100, SKINS[1], (190, 60, 80), (46, 32, 26))
    _bust(canvas, 182, 236, 104, "lena")
    _bust(canvas, 372, 220, 104, "omar")
    return canvas.finish()


def forest() -> Image.Image:
    canvas = Canvas(WIDTH, HEIGHT)
    canvas.gradient(0, 300, (206, 232, 226), (150, 200, 160))
    canvas.below(lambda x: 170 + 26 * sin(x / 46) + 14 * sin(x / 17), (116, 172, 120))
    canvas.below(lambda x: 236 + 20 * sin(x / 60 + 2), (88, 148, 92))
    for x, height, green in (
        (40, 190, (62, 124, 74)), (150, 210, (56, 116, 70)), (262, 180, (66, 130, 78)), (372, 184, (60, 122, 72)),
        (476, 214, (54, 114, 66)), (590, 196, (64, 126, 76)),
    ):  # fmt: skip
        _fir(canvas, x, 330, height, green)
    canvas.below(lambda x: 322 + 10 * sin(x / 80), (84, 136, 66))
    canvas.polygon([(306, 330), (338, 330), (372, 390), (330, 430), (430, 480), (190, 480), (262, 420), (316, 380)],
                   (176, 152, 104))  # fmt: skip
    for x, foot, height, green in (
        (96, 410, 320, (40, 104, 52)), (222, 384, 262, (46, 112, 58)), (440, 392, 280, (42, 106, 54)),
        (560, 424, 340, (36, 98, 48)), (10, 452, 360, (34, 92, 46)),
    ):  # fmt: skip
        _fir(canvas, x, foot, height, green)
    for x, y in ((60, 452), (150, 440), (480, 448), (540, 462), (620, 450)):
        for lean in (-9, 0, 9):
            canvas.polygon([(x - 4, y), (x + 4, y), (x + lean, y - 22)], (112, 170, 74))
    for x, y in ((132, 462), (500, 464)):
        canvas.rectangle(x - 3, y - 12, x + 3, y, (240, 234, 220))
        canvas.pie(x, y - 10, 11, 11, 180, 360, (196, 44, 44))
    return canvas.finish()


def street() -> Image.Image:
    canvas = Canvas(WIDTH, HEIGHT)
    canvas.gradient(0, 360, (122, 186, 236), (214, 232, 244))
    for x, y, rx in ((300, 60, 46), (336, 50, 36), (370, 62, 40)):
        canvas.ellipse(x, y, rx, 16, WHITE)
    for x0, x1, top, wall in (
        (250, 330, 190, (168, 176, 186)), (322, 400, 160, (190, 186, 178)), (0, 120, 60, (150, 154, 164)),
        (112, 258, 118, (208, 202, 190)), (392, 512, 96, (160, 170, 184)), (504, 640, 40, (196, 188, 180)),
    ):  # fmt: skip
        _building(canvas, x0, x1, top, 366, wall)
    canvas.rectangle(0, 362, WIDTH, 386, (198, 198, 196))
    canvas.rectangle(0, 384, WIDTH, HEIGHT, (92, 94, 98))
    for x in range(-20, WIDTH, 110):
        canvas.polygon([(x + 12, 436), (x + 66, 436), (x + 60, 444), (x, 444)], (238, 236, 226))
    _car(canvas, 130, 424, (204, 40, 48))
    _car(canvas, 430, 424, (36, 104, 190))
    for x in (80, 350, 600):
        canvas.line([(x, 384), (x, 270), (x + 22, 262)], 5, (58, 62, 70))
        canvas.ellipse(x + 28, 264, 13, 6, (250, 236, 180))
    return canvas.finish()


def profile_lena() -> Image.Image:
    canvas = Canvas(480, 480, (222, 228, 226))
    canvas.circle(240, 240, 214, (186, 206, 200))
    _bust(canvas, 150, 92, 180, "lena")
    return canvas.finish()


def profile_omar() -> Image.Image:
    canvas = Canvas(480, 480, (232, 226, 232))
    canvas.circle(240, 240, 214, (206, 196, 214))
    _bust(canvas, 150, 92, 180, "omar")
    return canvas.finish()


def unsafe() -> Image.Image:
    """A board with the marker that the pixel engine calls unsafe, so that nobody has to look at something worse."""
    canvas = Canvas(WIDTH, HEIGHT, (196, 200, 206))
    canvas.rectangle(110, 60, 530, 420, (60, 64, 72), radius=22)
    canvas.rectangle(122, 72, 518, 408, (236, 236, 238), radius=14)
    size = 40
    for row in range(6):
        for column in range(8):
            fill = (255, 0, 255) if (row + column) % 2 == 0 else (20, 20, 24)
            x, y = 160 + column * size, 120 + row * size
            canvas.rectangle(x, y, x + size, y + size, fill)
    return canvas.finish()


def _shore() -> Canvas:
    canvas = Canvas(WIDTH, HEIGHT)
    canvas.gradient(0, 190, (84, 168, 236), (206, 232, 248))
    canvas.circle(540, 74, 46, (250, 240, 196))
    canvas.circle(540, 74, 36, (255, 232, 120))
    for x, y in ((150, 74), (350, 50)):
        for dx, dy, rx, ry in ((-34, 6, 30, 13), (0, -4, 36, 20), (36, 5, 32, 14)):
            canvas.ellipse(x + dx, y + dy, rx, ry, WHITE)
    canvas.gradient(190, 320, (22, 104, 170), (40, 160, 196), (96, 206, 210))
    for row, y in enumerate((214, 236, 260, 284)):
        for x in range(-60 + 37 * row, WIDTH, 130):
            canvas.line([(x + 8 * i, y + 3 * sin(i * pi / 3)) for i in range(7)], 2, (150, 216, 228))
    canvas.polygon([(258, 200), (318, 200), (306, 214), (268, 214)], (150, 52, 44))  # a boat
    canvas.polygon([(286, 140), (286, 194), (322, 194)], WHITE)
    canvas.polygon([(281, 150), (281, 194), (256, 194)], (236, 226, 214))
    canvas.below(lambda x: 306 + 7 * sin(x / 50), WHITE)
    canvas.below(lambda x: 315 + 7 * sin(x / 50), (222, 194, 140))
    canvas.below(lambda x: 328 + 7 * sin(x / 50 + 0.3), (240, 216, 164))
    for x, y in ((40, 464), (250, 470), (600, 350), (560, 456), (380, 370), (180, 352)):
        canvas.ellipse(x, y, 16, 3, (226, 198, 142))
    return canvas


def _palm(canvas: Canvas, x: float, foot: float, height: float) -> None:
    bend = [(x + 34 * (i / 8) ** 2, foot - height * i / 8) for i in range(9)]
    for i, (px, py) in enumerate(bend[:-1]):
        canvas.line([(px, py), bend[i + 1]], 14 - 0.7 * i, TRUNK)
    top_x, top_y = bend[-1]
    for angle, green in ((200, 0), (235, 1), (275, 0), (320, 1), (350, 0), (170, 1), (20, 1)):
        reach, shade = height * 0.36, ((36, 124, 58), (52, 148, 70))[green]
        dx, dy = cos(angle * pi / 180) * reach, sin(angle * pi / 180) * reach
        side = (-dy * 0.16, dx * 0.16)
        tip = (top_x + dx, top_y + dy + reach * 0.34)
        middle = (top_x + dx * 0.55, top_y + dy * 0.7)
        canvas.polygon(
            [(top_x, top_y), (middle[0] + side[0], middle[1] + side[1]), tip,
             (middle[0] - side[0] * 0.7, middle[1] - side[1] * 0.7)], shade
        )  # fmt: skip
    for dx, dy in ((-7, 6), (6, 8), (0, 2)):
        canvas.circle(top_x + dx, top_y + dy, 6, (70, 52, 34))


def _parasol(canvas: Canvas, x: float, foot: float, height: float, color: Color) -> None:
    radius, top = height * 0.62, foot - height
    canvas.ellipse(x + 14, foot + 2, radius * 0.8, 9, (216, 188, 132))
    canvas.line([(x, foot), (x, top)], 5, (238, 238, 234))
    canvas.pie(x, top + radius * 0.62, radius, radius * 0.62, 180, 360, color)
    for part in (0.62, 0.2):
        fill = WHITE if part == 0.62 else color
        canvas.pie(x, top + radius * 0.62, radius * part, radius * 0.62, 180, 360, fill)
    canvas.circle(x, top, 4, (238, 238, 234))


def _person(canvas: Canvas, x: float, foot: float, height: float, skin: Color, clothes: Color, hair: Color) -> None:
    """Somebody who stands at (x, foot), seen from so far that a face has no features."""
    u = height / 100

    def at(dx: float, dy: float) -> tuple[float, float]:
        return (x + dx * u, foot - dy * u)

    canvas.ellipse(x + 6 * u, foot, 17 * u, 2.6 * u, (208, 178, 124))
    for side in (-1, 1):
        canvas.line([at(side * 5, 48), at(side * 6, 25), at(side * 6.5, 3)], 8.5 * u, skin)
        canvas.line([at(side * 6.5, 2.5), at(side * 9.5, 1.5)], 4 * u, skin)
        canvas.line([at(side * 10.5, 76), at(side * 15, 62), at(side * 16, 49)], 5.4 * u, skin)
    canvas.rectangle(x - 11.5 * u, foot - 79 * u, x + 11.5 * u, foot - 44 * u, skin, radius=6 * u)
    canvas.rectangle(x - 11.5 * u, foot - 58 * u, x + 11.5 * u, foot - 38 * u, clothes, radius=4 * u)
    canvas.rectangle(x - 3.4 * u, foot - 86 * u, x + 3.4 * u, foot - 76 * u, skin)
    canvas.circle(*at(0, 91.6), 9 * u, hair)
    canvas.ellipse(*at(0, 89.4), 7.8 * u, 8.6 * u, skin)


def _bust(canvas: Canvas, left: float, top: float, width: float, name: str) -> None:
    """One of the two who can be recognized, from the chest up to the hat; left, top, width: of the head."""
    skin, shirt = {"lena": (SKINS[0], (44, 110, 150)), "omar": (SKINS[2], (226, 226, 220))}[name]
    x, chin = left + width / 2, top + 1.40 * width
    bottom = canvas.height + width
    canvas.rectangle(x - 0.92 * width, chin + 0.10 * width, x + 0.92 * width, bottom, shirt, radius=0.42 * width)
    canvas.rectangle(x - 0.24 * width, chin - 0.2 * width, x + 0.24 * width, chin + 0.24 * width, shirt)
    dark: Color = (shirt[0] * 4 // 5, shirt[1] * 4 // 5, shirt[2] * 4 // 5)
    canvas.ellipse(x, chin + 0.14 * width, 0.34 * width, 0.12 * width, dark)
    canvas.head(left, top, width, HATS[name], skin)


def _fir(canvas: Canvas, x: float, foot: float, height: float, green: Color) -> None:
    canvas.rectangle(x - height * 0.03, foot - height * 0.2, x + height * 0.03, foot, (78, 58, 40))
    for layer in range(4):
        top, half = foot - height * (1 - 0.2 * layer), height * (0.10 + 0.045 * layer)
        base = top + height * 0.30
        canvas.polygon([(x, top), (x - half, base), (x + half, base)], green)
        lit: Color = (green[0] + 14, green[1] + 18, green[2] + 12)
        canvas.polygon([(x, top), (x - half, base), (x - half * 0.25, base)], lit)


def _building(canvas: Canvas, x0: float, x1: float, top: float, bottom: float, wall: Color) -> None:
    canvas.rectangle(x0, top, x1, bottom, wall)
    canvas.rectangle(x0 - 2, top - 6, x1 + 2, top + 2, (wall[0] * 3 // 4, wall[1] * 3 // 4, wall[2] * 3 // 4))
    columns = max(2, round((x1 - x0) / 30))
    step = (x1 - x0) / columns
    for column in range(columns):
        for row in range(int((bottom - top - 46) // 36)):
            x, y = x0 + step * (column + 0.24), top + 16 + 36 * row
            canvas.rectangle(x, y, x + step * 0.52, y + 21, (62, 82, 106))
            canvas.rectangle(x, y, x + step * 0.52, y + 7, (110, 138, 164))
    middle = (x0 + x1) / 2
    canvas.rectangle(middle - 9, bottom - 30, middle + 9, bottom, (70, 60, 62))


def _car(canvas: Canvas, x: float, foot: float, color: Color) -> None:
    """x: of the middle; foot: where the wheels stand."""
    canvas.ellipse(x, foot, 66, 6, (74, 76, 80))
    canvas.polygon([(x - 34, foot - 28), (x - 22, foot - 50), (x + 20, foot - 50), (x + 38, foot - 28)], color)
    canvas.polygon([(x - 26, foot - 29), (x - 17, foot - 45), (x - 2, foot - 45), (x - 2, foot - 29)], (186, 214, 228))
    canvas.polygon([(x + 3, foot - 29), (x + 3, foot - 45), (x + 17, foot - 45), (x + 29, foot - 29)], (186, 214, 228))
    canvas.rectangle(x - 62, foot - 30, x + 62, foot - 8, color, radius=8)
    for wheel in (x - 36, x + 36):
        canvas.circle(wheel, foot - 8, 12, (34, 34, 38))
        canvas.circle(wheel, foot - 8, 5, (186, 188, 192))
    canvas.circle(x + 58, foot - 21, 4, (252, 240, 180))


PICTURES: dict[str, Callable[[], Image.Image]] = {
    picture.__name__: picture
    for picture in (beach, beach_people, beach_sunset, forest, street, profile_lena, profile_omar, unsafe)
}

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, image in draw().items():
        image.save(FOLDER / f"{name}.jpg", quality=QUALITY, optimize=True)
        print(name)
