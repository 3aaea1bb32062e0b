"""python make_images.py FOLDER: write the small images of the table; each value of `steps` is known by formula."""
import sys
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
