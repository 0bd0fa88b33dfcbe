"""Reading all digits in the calling process, for the command line: the image is the user's own."""

from app.image.decode import open_image, to_grey
from app.image.segmentation.segment import segment
from app.predict.model import Model
from app.read.reading import Reading, read_lines


def read_sync(upload: bytes, model: Model, max_pixels: int) -> Reading:
    """Return all digits of an image.

    Raises NotAnImage, ImageTooLarge, BlankImage, TooManyDigits.
    """
    grey = to_grey(open_image(upload, max_pixels))
    return read_lines(segment(grey.pixels), grey.size[0] / grey.pixels.shape[1], model)
