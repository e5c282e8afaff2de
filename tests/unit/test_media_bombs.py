"""Small files that are large in memory or long in time: refused, or decoded in the memory of a large photograph."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

MAX_PIXELS = 50_000_000
LARGE = (7000, 7000)  # just within

# Decodes in a process of its own and tells what came of it and how much more memory it took than before, at its peak.
CHILD = """
import json, sys
from pathlib import Path
import samples
from streamapp.media.image import ImageError, decode

def status(name):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024

decode(samples.path("beach").read_bytes(), max_pixels=1_000_000)
raw = Path(sys.argv[1]).read_bytes()
Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
before = status("VmRSS")
try:
    picture = decode(raw, max_pixels=int(sys.argv[2]), min_side=int(sys.argv[3]))
    told = f"{picture.full_width}x{picture.full_height}"
except ImageError as error:
    told = str(error)
print(json.dumps([told, status("VmHWM") - before]))
"""


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*, size: tuple[int, int] = (1, 1), early: bytes = b"", data: bytes = b"\0" * 4, late: bytes = b"") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0))
    end = late + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + early + chunk(b"IDAT", zlib.compress(data, 9)) + end


def zeros(mebibytes: int) -> bytes:
    compressor = zlib.compressobj(9)
    return b"".join(compressor.compress(bytes(2**20)) for _ in range(mebibytes)) + compressor.flush()


def texts(count: int) -> bytes:
    """Each within Pillow's limit for one."""
    text = zlib.compress(bytes(1_000_000), 9)
    return b"".join(chunk(b"zTXt", b"%d\0\0" % n + text) for n in range(count))


def gif(*, screen: tuple[int, int], frame: tuple[int, int]) -> bytes:
    header = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return header + b"," + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\x02\x02\x44\x01\x00;"


def saved(name: str, *, size: tuple[int, int] = LARGE, mode: str = "RGB", **options: object) -> bytes:
    buffer = BytesIO()
    Image.new(mode, size, "teal" if mode == "RGB" else 7).save(buffer, name, **options)
    return buffer.getvalue()


def jpeg_that_claims(size: tuple[int, int]) -> bytes:
    raw = bytearray(saved("JPEG", size=(64, 64)))
    at = raw.index(b"\xff\xc0")
    raw[at + 5 : at + 9] = struct.pack(">HH", *size)
    return bytes(raw)


def webp_that_claims(size: tuple[int, int]) -> bytes:
    raw = bytearray(saved("WEBP", size=(64, 64), lossless=True))
    at = raw.index(b"VP8L") + 9  # then 14 bits each of width - 1 and height - 1
    old = struct.unpack_from("<I", raw, at)[0]
    struct.pack_into("<I", raw, at, (old >> 28 << 28) | (size[1] - 1) << 14 | (size[0] - 1))
    return bytes(raw)


def jpeg_of_scans(count: int) -> bytes:
    """The last scan of a progressive JPEG, a few bytes, over and over."""
    raw = saved("JPEG", mode="L", progressive=True)
    last, end = raw.rindex(b"\xff\xda"), raw.rindex(b"\xff\xd9")
    return raw[:end] + raw[last:end] * count + b"\xff\xd9"


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "PNG of 60000x60000": (lambda: png(size=(60_000, 60_000), data=bytes(1000)), "PNG of 60000x60000 is larger"),
    "PNG text": (lambda: png(early=chunk(b"zTXt", b"a\0\0" + zeros(256))), "corrupt PNG: Decompressed data too large"),
    "PNG international text": (
        lambda: png(early=chunk(b"iTXt", b"a\0\1\0\0\0" + zeros(256))),
        "corrupt PNG: Decompressed data too large",
    ),
    "PNG colour profile": (
        lambda: png(early=chunk(b"iCCP", b"a\0\0" + zeros(256))),
        "corrupt PNG: Decompressed data too large",
    ),
    "PNG of many texts": (lambda: png(early=texts(500)), "corrupt PNG: Too much memory used in text chunks"),
    "PNG of many texts at the end": (lambda: png(late=texts(500)), "corrupt PNG: Too much memory used in text chunks"),
    "GIF screen": (lambda: gif(screen=(65_535, 65_535), frame=(1, 1)), "GIF of 65535x65535 is larger"),
    "GIF frame": (lambda: gif(screen=(1, 1), frame=(65_535, 65_535)), "GIF of 65535x65535 is larger"),
    "WebP": (lambda: webp_that_claims((16_384, 16_384)), "WEBP of 16384x16384"),
    "JPEG of 65500x65500": (lambda: jpeg_that_claims((65_500, 65_500)), "JPEG of 65500x65500 is larger"),
    "JPEG of many scans": (lambda: jpeg_of_scans(10_000), "JPEG of 7000x7000 in 10006 scans"),
}
# Bytes a pixel, at full size and shrunk where that makes a difference.
DECODED: dict[str, tuple[Callable[[], bytes], dict[int, int]]] = {
    "PNG": (lambda: saved("PNG"), {0: 11}),
    "PNG, 16 bits": (lambda: saved("PNG", mode="I;16"), {0: 13}),
    "WebP": (lambda: saved("WEBP", lossless=True, quality=0, method=0), {0: 18}),
    "JPEG": (lambda: saved("JPEG"), {0: 11, 960: 2}),
    "progressive JPEG": (lambda: saved("JPEG", progressive=True), {0: 11, 960: 5}),
}


def outcome(tmp_path: Path, raw: bytes, *, min_side: int = 0) -> tuple[str, float]:
    """What came of decoding, and the MiB it took."""
    file = tmp_path / "file"
    file.write_bytes(raw)
    child = subprocess.run(
        [sys.executable, "-W", "error", "-c", CHILD, str(file), str(MAX_PIXELS), str(min_side)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    told, mebibytes = json.loads(child.stdout)
    return told, mebibytes


@pytest.mark.parametrize("name", REFUSED)
def test_a_bomb_is_refused_before_it_takes_memory(tmp_path: Path, name: str) -> None:
    make, reason = REFUSED[name]
    raw = make()
    assert len(raw) < 2_000_000
    told, mebibytes = outcome(tmp_path, raw)
    assert reason in told
    assert mebibytes < 80  # Pillow's own limit for all texts of a PNG is 64


@pytest.mark.parametrize("name", DECODED)
def test_the_memory_that_the_largest_picture_takes(tmp_path: Path, name: str) -> None:
    make, limits = DECODED[name]
    raw = make()
    for min_side, limit in limits.items():
        told, mebibytes = outcome(tmp_path, raw, min_side=min_side)
        assert told == "7000x7000"
        assert mebibytes < limit * LARGE[0] * LARGE[1] / 2**20 + 20


def test_more_data_than_pixels_is_not_unpacked(tmp_path: Path) -> None:
    told, mebibytes = outcome(tmp_path, png(data=bytes(2**28)))
    assert told == "1x1"
    assert mebibytes < 20
