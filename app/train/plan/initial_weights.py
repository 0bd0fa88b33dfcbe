"""Initial weights of a job, read when it is submitted.

They are stored with the job, so a version or a checkpoint that is deleted later does not matter.
"""

import safetensors.numpy

from app.errors import Conflict, FieldError, InvalidField, NotFound
from app.net import Weights, check_weights
from app.train.jobs.checkpoints import Checkpoints
from app.train.jobs.hyperparameters import Init
from app.versions import checkpoint
from app.versions.registry import Registry


def read(init: Init, registry: Registry, checkpoints: Checkpoints) -> bytes:
    """Return the weights of a version or a checkpoint, in safetensors format.

    Raises InvalidField if it does not exist or is damaged, NotReady.
    """
    try:
        if init.version is not None:
            return to_bytes(registry.weights(init.version))
        assert init.job is not None and init.epoch is not None, "Init has checked its fields"
        return to_bytes(checkpoints.read(init.job, init.epoch)[0])
    except (NotFound, Conflict) as error:
        raise InvalidField(f"init: {error}", errors=[FieldError("init", str(error))]) from error


def to_bytes(weights: Weights) -> bytes:
    """Return the weights as they are stored with a job."""
    return safetensors.numpy.save(dict(weights))


def from_bytes(content: bytes) -> Weights:
    """Return the weights that a job stores."""
    return check_weights(checkpoint.parse(content))
