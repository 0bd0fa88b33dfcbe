"""Predictions in the calling process, for the command line: the image is the user's own."""

import time

from app.image.decode import open_image, to_grey
from app.predict.batcher import PredictionResult, answer_images
from app.predict.model import Model
from app.predict.preprocess import PreprocessedImage, preprocess_if_small, preprocess_pixels


def preprocess(upload: bytes, max_pixels: int) -> PreprocessedImage:
    """Return an image of any size as model input.

    Raises NotAnImage, ImageTooLarge, BlankImage.
    """
    started = time.perf_counter()
    small = preprocess_if_small(upload, max_pixels)
    if small is not None:
        return small
    grey = to_grey(open_image(upload, max_pixels))
    return preprocess_pixels(grey.pixels, grey.size[0] / grey.pixels.shape[1], started)


def predict_sync(upload: bytes, model: Model, max_pixels: int) -> PredictionResult:
    """Return the prediction for one image, synchronously. Raises the errors of `preprocess`."""
    preprocessed = preprocess(upload, max_pixels)
    return PredictionResult(preprocessed, answer_images(model, [preprocessed]), 0)
