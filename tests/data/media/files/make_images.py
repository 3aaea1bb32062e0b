"""python make_images.py FOLDER: write the small images of the table; their pixels are known by formula."""
import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

out = Path(sys.argv[1])
y, x = np.mgrid[0:16, 0:24]
rgb = np.stack([x * 10, y * 15, (x + y) * 6], axis=-1).astype(np.uint8)
grey = rgb[..., 0]
image = Image.fromarray(rgb)
for suffix in ("png", "bmp", "tiff", "ppm", "qoi", "tga"):
    image.save(out / f"rgb.{suffix}")
image.save(out / "lossless.webp", lossless=True)
image.save(out / "lossless.jp2")
image.save(out / "rgb.jpg", quality=95)
image.save(out / "progressive.jpg", quality=95, progressive=True)
image.convert("CMYK").save(out / "cmyk.jpg", quality=95)
image.convert("CMYK").save(out / "cmyk.tiff")
image.save(out / "rgb.avif", quality=95)
image.save(out / "wrong_name.gif", format="PNG")
for compression in ("tiff_lzw", "tiff_deflate", "packbits"):
    image.save(out / f"{compression}.tiff", compression=compression)
Image.fromarray(grey).save(out / "grey.png")
Image.fromarray(grey).save(out / "grey.jpg", quality=95)
Image.fromarray(grey).save(out / "grey.pgm")
Image.fromarray(grey > 100).save(out / "one_bit.png")
Image.fromarray(grey.astype(np.uint16) * 257).save(out / "grey16.png")
Image.fromarray(grey.astype(np.uint16) * 257).save(out / "grey16.tiff")
Image.fromarray(grey.astype(np.uint16)).save(out / "dark16.png")
Image.fromarray((grey / 255).astype(np.float32)).save(out / "float.tiff")
Image.fromarray(grey.astype(np.float32)).save(out / "float_range.tiff")
Image.fromarray(np.full((4, 4), np.nan, np.float32)).save(out / "float_nan.tiff")
Image.fromarray(grey.astype(np.int32) * 70000).save(out / "int32.tiff")
image.quantize(64).save(out / "palette.png")
image.quantize(64).save(out / "palette.gif")
alpha = np.dstack([rgb, np.where(x < 12, 255, 0).astype(np.uint8)])
Image.fromarray(alpha).save(out / "alpha.png")
Image.fromarray(alpha).save(out / "alpha.webp", lossless=True)
Image.fromarray(alpha).save(out / "alpha.tiff")
frames = [image.quantize(64), image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).quantize(64)]
frames[0].save(out / "moving.gif", save_all=True, append_images=frames[1:], duration=100)
image.save(out / "moving.webp", save_all=True, append_images=[frames[1].convert("RGB")], lossless=True)
image.save(out / "moving.png", save_all=True, append_images=[frames[1].convert("RGB")])
image.save(out / "pages.tiff", save_all=True, append_images=[image.resize((8, 8))])
for held in range(2, 9):
    exif = Image.Exif()
    exif[0x0112] = held
    image.save(out / f"held{held}.png", exif=exif)
    image.save(out / f"held{held}.tiff", exif=exif)
exif = Image.Exif()
exif[0x0112] = 6
image.save(out / "held6.jpg", exif=exif, quality=95)
image.save(out / "held6.webp", exif=exif, lossless=True)
Image.new("RGB", (3000, 1), (9, 8, 7)).save(out / "wide.png")
Image.new("RGB", (1, 5000), (9, 8, 7)).save(out / "tall.png")
Image.new("1", (9400, 9400)).save(out / "large.png")
(out / "cut.png").write_bytes((out / "rgb.png").read_bytes()[:60])
(out / "cut.jpg").write_bytes((out / "rgb.jpg").read_bytes()[:400])
(out / "empty.png").write_bytes(b"")
(out / "text.png").write_text("no image")
(out / "vector.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"><image href="/etc/passwd"/></svg>')
image.save(out / "script.eps")


def png(raw: bytes, bits: int, colour: int, *, extra: bytes = b"", interlaced: int = 0, data: bytes | None = None,
        size: tuple[int, int] = (24, 16)) -> bytes:
    """Give a PNG of rows that each begin with a filter byte."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, interlaced)), (b"tRNS", extra),
              (b"IDAT", zlib.compress(raw) if data is None else data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(content)) + name + content
                                           + struct.pack(">I", zlib.crc32(name + content))
                                           for name, content in chunks if content or name != b"tRNS")


def rows(values: np.ndarray) -> bytes:
    return b"".join(b"\0" + row.tobytes() for row in values)


def deep(values: np.ndarray) -> np.ndarray:
    return (values.astype(np.uint16) * 257).astype(">u2")


def tiff(values: np.ndarray, bits: int, *, kind: int = 1, order: str = "<", photometric: int = 1) -> bytes:
    """Give a TIFF of one channel."""
    raw, (height, width) = values.tobytes(), values.shape
    tags = [(256, 3, width), (257, 3, height), (258, 3, bits), (259, 3, 1), (262, 3, photometric), (273, 4, 8), (277, 3, 1),
            (278, 3, height), (279, 4, len(raw)), (339, 3, kind)]
    entries = b"".join(struct.pack(order + "HHI", tag, size, 1) + (struct.pack(order + "HH", value, 0) if size == 3
                                                                   else struct.pack(order + "I", value))
                       for tag, size, value in tags)
    head = (b"MM" if order == ">" else b"II") + struct.pack(order + "HI", 42, 8 + len(raw))
    return head + raw + struct.pack(order + "H", len(tags)) + entries + b"\0\0\0\0"


passes = ((0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4), (0, 2, 2, 4), (1, 2, 0, 2), (0, 1, 1, 2))
jpeg = io.BytesIO()
image.resize((96, 64)).save(jpeg, "JPEG")
whole = jpeg.getvalue()
WRITTEN = {
    "rgb16.png": png(rows(deep(rgb)), 16, 2), "alpha16.png": png(rows(deep(alpha)), 16, 6),
    "interlaced.png": png(b"".join(rows(rgb[row::high, column::wide]) for column, wide, row, high in passes), 8, 2,
                          interlaced=1),
    "clear_grey.png": png(rows(grey), 8, 0, extra=b"\0\0"), "clear_grey16.png": png(rows(deep(grey)), 16, 0, extra=b"\0\0"),
    "rows_missing.png": png(rows(rgb[:8]), 8, 2), "data_damaged.png": png(b"", 8, 2, data=b"garbage"),
    "no_width.png": png(b"", 8, 2, size=(0, 16)), "endless.png": png(b"", 8, 2, size=(2**31 - 1, 2**31 - 1)),
    "big_endian16.tiff": tiff(deep(grey), 16, order=">"), "signed8.tiff": tiff(grey.astype(np.int8), 8, kind=2),
    "white_is_zero16.tiff": tiff(65535 - grey.astype("<u2") * 257, 16, photometric=0),
    "unsigned32.tiff": tiff(grey.astype("<u4") * 16843009, 32), "float64.tiff": tiff(grey / 255, 64, kind=3),
    "half.jpg": whole[:len(whole) // 2], "last_byte.jpg": whole[:-2], "zeros.jpg": whole[:300] + b"\0" * (len(whole) - 300),
    "cut.webp": (out / "alpha.webp").read_bytes()[:60], "cut.tiff": (out / "rgb.tiff").read_bytes()[:600],
    "cut.gif": (out / "palette.gif").read_bytes()[:300], "cut.bmp": (out / "rgb.bmp").read_bytes()[:-100],
    "page.html": b"<html>404</html>", "lfs.png": b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 1\n",
    "photo.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 40, "page.pdf": b"%PDF-1.4\n", "icon.ico": b"\0\0\1\0\1\0"}
for name, content in WRITTEN.items():
    (out / name).write_bytes(content)
image.save(out / "two_images.mpo", format="MPO", save_all=True, append_images=[image.rotate(180)], quality=95)
for held in (2, 3, 4, 5, 7, 8):
    exif = Image.Exif()
    exif[0x0112] = held
    image.save(out / f"held{held}.webp", exif=exif, lossless=True)
    image.save(out / f"held{held}.jpg", exif=exif, quality=95)
