"""Import of a data set in the calling process, for the command line."""

import asyncio
from tempfile import TemporaryFile
from typing import IO

from app.config.settings import Settings
from app.dataset_import.importer import DatasetImporter
from app.datasets.catalogue import Datasets
from app.datasets.records import Dataset
from app.predict.image_decoders import ImageDecoders
from app.predict.model import Model
from app.predict.predictor import never_disconnected
from app.telemetry.metrics import Metrics


def import_sync(
    settings: Settings,
    datasets: Datasets,
    model: Model,
    content: bytes,
    name: str,
    *,
    transposed: bool,
) -> Dataset:
    """Store an upload as a data set, and return it. Raises the errors of `DatasetImporter.run`."""
    with TemporaryFile(dir=datasets.files.folder) as file:
        file.write(content)
        file.flush()
        return asyncio.run(_import(settings, datasets, model, file, name, transposed=transposed))


async def _import(
    settings: Settings,
    datasets: Datasets,
    model: Model,
    file: IO[bytes],
    name: str,
    *,
    transposed: bool,
) -> Dataset:
    async with ImageDecoders(settings, Metrics()).running() as decoders:
        await decoders.wait_until_ready()
        importer = DatasetImporter(settings, datasets, decoders)
        dataset, _ = await importer.run(
            file, name, model, never_disconnected, transposed=transposed
        )
        return dataset
