"""Each format, mode, orientation and kind of transparency, on one drawn digit; each refusal."""

import struct
from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image

from app.errors import ImageTooLarge, NotAnImage
from app.image.decode import LONG_SIDE, Grey, open_image, to_grey

LIMIT = 50_000_000
INK, PAPER = 20, 240


def seven(width: int = 60, height: int = 80) -> np.ndarray:
    """1 where a 7 is drawn; it differs from all its mirror images."""
    drawn = np.zeros((height, width), np.uint8)
    corners = [(0.2, 0.2), (0.8, 0.2), (0.4, 0.85)]
    line = np.array([[x * width, y * height] for x, y in corners], np.int32)
    cv2.polylines(drawn, [line], False, 1, max(2, width // 8))
    return drawn


def on_paper() -> Image.Image:
    return Image.fromarray(np.where(seven(), INK, PAPER).astype(np.uint8))


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decode(data: bytes) -> Grey:
    return to_grey(open_image(data, LIMIT))


def correlation(pixels: np.ndarray, drawn: np.ndarray) -> float:
    """Correlation with the drawing: -1 where ink is dark, 1 where it is light."""
    return float(np.corrcoef(pixels.ravel(), drawn.ravel())[0, 1])


@pytest.mark.parametrize(
    "kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM", "PCX", "TGA"]
)
def test_reads_the_format(kind: str) -> None:
    grey = decode(encode(on_paper(), kind))
    assert grey.size == (60, 80)
    assert grey.pixels.shape == (80, 60)
    assert grey.pixels.dtype == np.uint8
    assert grey.pixels.flags.c_contiguous
    assert correlation(grey.pixels, seven()) < -0.98


def test_reads_the_first_frame_of_a_gif() -> None:
    frames = [on_paper(), Image.new("L", (60, 80), 128)]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert correlation(decode(data).pixels, seven()) < -0.98


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV"])
def test_reads_the_mode(mode: str) -> None:
    if mode == "1":
        image = on_paper().convert(mode, dither=Image.Dither.NONE)
    else:
        image = on_paper().convert("L" if mode in ("LA", "P") else "RGB").convert(mode)
    assert correlation(to_grey(image).pixels, seven()) < -0.98


def test_reads_a_palette_with_alpha() -> None:
    assert correlation(to_grey(on_paper().convert("P").convert("PA")).pixels, seven()) < -0.98


def test_reads_lab() -> None:
    lightness = np.dstack([np.asarray(on_paper())] + [np.full((80, 60), 128, np.uint8)] * 2)
    assert correlation(to_grey(Image.fromarray(lightness, "LAB")).pixels, seven()) < -0.98


@pytest.mark.parametrize("mode", ["I;16", "I;16B"])
def test_scales_16_bits(mode: str) -> None:
    order = ">u2" if mode.endswith("B") else "<u2"
    deep = (np.asarray(on_paper()).astype(np.uint16) * 257).astype(order)
    image = Image.frombytes(mode, (60, 80), deep.tobytes())
    np.testing.assert_array_equal(to_grey(image).pixels, np.asarray(on_paper()))


@pytest.mark.parametrize(("dtype", "scale"), [(np.int32, 257), (np.float32, 1 / 255)])
def test_scales_32_bits(dtype: type, scale: float) -> None:
    deep = (np.asarray(on_paper(), np.float64) * scale).astype(dtype)
    np.testing.assert_array_equal(to_grey(Image.fromarray(deep)).pixels, np.asarray(on_paper()))


def test_reads_a_16_bit_png() -> None:
    deep = Image.fromarray(np.asarray(on_paper()).astype(np.uint16) * 257)
    np.testing.assert_array_equal(decode(encode(deep)).pixels, np.asarray(on_paper()))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_honours_exif_orientation(kind: str, orientation: int) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = on_paper().transpose(undo[orientation]) if orientation > 1 else on_paper()
    exif = Image.Exif()
    exif[0x0112] = orientation
    grey = decode(encode(stored, kind, exif=exif))
    assert grey.size == (60, 80)
    assert correlation(grey.pixels, seven()) < -0.98


def canvas(ink: int, hidden: int) -> Image.Image:
    """What canvas.toDataURL() gives: ink on nothing; `hidden` is the colour of the nothing."""
    tone = np.where(seven(), ink, hidden).astype(np.uint8)
    return Image.fromarray(np.dstack([tone, tone, tone, seven() * np.uint8(255)]))


@pytest.mark.parametrize(("ink", "hidden"), [(0, 0), (255, 255), (0, 255), (255, 0), (90, 0)])
def test_ink_on_transparent_stands_out(ink: int, hidden: int) -> None:
    pixels = decode(encode(canvas(ink, hidden))).pixels
    assert abs(correlation(pixels, seven())) > 0.98
    assert np.ptp(pixels) > 100


def test_strokes_of_two_colours_on_transparent_stand_out() -> None:
    rgba = np.asarray(canvas(0, 0)).copy()
    rgba[:20, :, 0] = 220
    pixels = decode(encode(Image.fromarray(rgba))).pixels
    assert correlation(pixels, seven()) < -0.9


@pytest.mark.parametrize(("ink", "paper"), [(INK, PAPER), (PAPER, INK)])
def test_transparent_corners_of_a_card_become_paper(ink: int, paper: int) -> None:
    tone = np.where(seven(), ink, paper).astype(np.uint8)
    cover = cv2.ellipse(np.zeros_like(tone), (30, 40), (29, 39), 0, 0, 360, 255, -1)
    pixels = decode(encode(Image.fromarray(np.dstack([tone, tone, tone, cover])))).pixels
    inside = cover > 0
    assert abs(pixels[~inside].astype(int) - paper).max() < 10
    assert abs(correlation(pixels[inside], seven()[inside])) > 0.98


def test_a_palette_with_transparency() -> None:
    indices = Image.fromarray(seven()).convert("P")
    indices.putpalette([0, 0, 0, 0, 0, 0])
    pixels = decode(encode(indices, transparency=0)).pixels
    assert correlation(pixels, seven()) < -0.98


def test_alpha_that_hides_everything_is_ignored() -> None:
    image = on_paper().convert("RGBA")
    image.putalpha(0)
    assert correlation(decode(encode(image)).pixels, seven()) < -0.98


@pytest.mark.parametrize("ink", [(235, 175, 40), (255, 90, 90), (120, 190, 255)])
def test_coloured_ink_stands_out(ink: tuple[int, int, int]) -> None:
    colour = np.where(seven()[..., None] > 0, ink, (250, 250, 245)).astype(np.uint8)
    pixels = decode(encode(Image.fromarray(colour))).pixels
    assert correlation(pixels, seven()) < -0.98
    assert np.ptp(pixels) > 100


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_reduces_large_images_and_remembers_their_size(kind: str) -> None:
    large = np.where(seven(3000, 4000), INK, PAPER).astype(np.uint8)
    grey = decode(encode(Image.fromarray(large), kind))
    assert grey.size == (3000, 4000)
    assert 512 <= max(grey.pixels.shape) <= LONG_SIDE
    assert correlation(grey.pixels, cv2.resize(large, grey.pixels.shape[::-1])) > 0.98


def test_an_empty_body_is_refused() -> None:
    with pytest.raises(NotAnImage, match="empty"):
        open_image(b"", LIMIT)


@pytest.mark.parametrize(
    "data", [b"hello", b"<svg/>", b"\x89PNG\r\n\x1a\n", bytes(999), b"%PDF-1.7"]
)
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(NotAnImage, match=r"PNG(,| or) JPEG") as excinfo:
        decode(data)
    assert excinfo.value.__cause__ is not None


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_a_truncated_image_is_refused(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200), np.uint8)
    data = encode(Image.fromarray(noise), kind)
    with pytest.raises(NotAnImage):
        decode(data[: len(data) // 2])


def test_corrupt_pixels_are_refused_with_the_reason() -> None:
    data = bytearray(encode(on_paper()))
    start = data.index(b"IDAT") + 8
    data[start : start + 8] = b"\xff" * 8
    with pytest.raises(NotAnImage, match="PNG is truncated or corrupt") as excinfo:
        to_grey(open_image(bytes(data), LIMIT))
    assert excinfo.value.__cause__ is not None


def test_too_many_pixels_are_refused_before_decoding() -> None:
    data = encode(Image.new("1", (20_000, 10_000)))
    with pytest.raises(ImageTooLarge, match=r"20000 x 10000 .* 50,000,000"):
        open_image(data, LIMIT)


def test_the_limit_itself_is_allowed() -> None:
    assert open_image(encode(on_paper()), 60 * 80).size == (60, 80)
    with pytest.raises(ImageTooLarge):
        open_image(encode(on_paper()), 60 * 80 - 1)


def test_a_tiff_tile_beyond_the_limit_is_refused() -> None:
    tags = {256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 277: 1, 322: 4096, 323: 4096, 324: 0, 325: 64}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    tiled = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4)
    with pytest.raises(ImageTooLarge, match="4096 x 4096"):
        open_image(tiled, 1_000_000)
