"""File of a data set: normalised pixels and labels, with its record, as safetensors."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError

from app.datasets.records import Dataset
from app.mnist.files import LabelledImages
from app.net import DIGITS, SIDE
from app.safetensors_files import open_safetensors

SUFFIX: Final = ".safetensors"
RECORD: Final = "dataset"
PIXELS: Final = "pixels"
LABELS: Final = "labels"
ERRORS: Final = (SafetensorError, ValidationError, LookupError, TypeError, ValueError)


class DamagedDataset(Exception):
    """A file is not that of a data set, or its images have another digest than its record."""


def digest(images: LabelledImages) -> str:
    """Return the sha256 of the pixels, (N, 28, 28) uint8, and the labels, as int64."""
    result = hashlib.sha256(np.ascontiguousarray(images.pixels).data)
    result.update(images.labels.astype(np.int64).data)
    return result.hexdigest()


def counts(labels: NDArray[np.integer]) -> dict[str, int]:
    """Return the number of images by label, for all ten."""
    numbers = np.bincount(labels, minlength=DIGITS).tolist()
    return {str(label): number for label, number in enumerate(numbers)}


def to_bytes(images: LabelledImages, record: Dataset) -> bytes:
    """Return the bytes of the file."""
    # safetensors writes the memory of an array as it lies there, whatever its strides are.
    arrays = {PIXELS: images.pixels, LABELS: images.labels}
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return safetensors.numpy.save(contiguous, {RECORD: record.model_dump_json()})


def read_record(path: Path) -> Dataset:
    """Return the record in a file. Raises DamagedDataset, OSError."""
    try:
        with open_safetensors(path) as file:
            return Dataset.model_validate_json((file.metadata() or {})[RECORD])
    except ERRORS as error:
        raise DamagedDataset(f"{path} has no readable record: {error!s:.200}") from error


def read(path: Path, expected_digest: str) -> LabelledImages:
    """Return all images. Raises DamagedDataset, OSError."""
    try:
        with open_safetensors(path) as file:
            images = LabelledImages(file.get_tensor(PIXELS), file.get_tensor(LABELS))
        is_sound = images.pixels.shape[1:] == (SIDE, SIDE) and digest(images) == expected_digest
    except ERRORS as error:
        raise DamagedDataset(f"{path} is damaged: {error!s:.200}") from error
    if not is_sound:
        raise DamagedDataset(f"{path} is damaged: its images have another digest")
    return images


def read_labels(path: Path) -> NDArray[np.uint8]:
    """Return the labels, (N,) uint8. Raises DamagedDataset, OSError."""
    try:
        with open_safetensors(path) as file:
            labels: NDArray[np.uint8] = file.get_tensor(LABELS)
            return labels
    except ERRORS as error:
        raise DamagedDataset(f"{path} is damaged: {error!s:.200}") from error


def read_some(path: Path, indices: Sequence[int]) -> list[NDArray[np.uint8]]:
    """Return the images at these indices, (28, 28) uint8. Raises DamagedDataset, OSError."""
    try:
        with open_safetensors(path) as file:
            pixels = file.get_slice(PIXELS)
            return [pixels[index : index + 1][0] for index in indices]
    except ERRORS as error:
        raise DamagedDataset(f"{path} is damaged: {error!s:.200}") from error
