import asyncio

import numpy as np
import pytest

from app.errors import DeadlineExceeded, NotAnImage, NotFound, QueueFull
from app.predict.live_model import LiveModel
from app.predict.local import predict_sync, preprocess
from app.predict.predictor import Predictor
from app.predict.preprocess import from_mnist_pixels
from app.telemetry.metrics import Metrics
from app.torch_net import MyNet, weights_of
from tests.conftest import png


class LocalDecoders:
    """Decodes in this process, once its gate is open. It counts what it began."""

    def __init__(self, *, is_open=True):
        self.is_open, self.started = is_open, 0

    async def read_digit(self, upload, deadline, _is_cancelled, _urgency=None):
        self.started += 1
        async with asyncio.timeout_at(deadline):
            while not self.is_open:
                await asyncio.sleep(0.001)
        return preprocess(upload, 10**8)


@pytest.fixture
def live(registry):
    live = LiveModel(registry, "cpu")
    live.refresh()
    return live


@pytest.fixture
def make(settings, live):
    instances = []

    def make(pool=None, **changes):
        changes = {"predict_timeout": 120, **changes}  # a busy machine is not what is tested
        changed = settings.model_copy(update=changes)
        instances.append(Predictor(changed, live, Metrics(), pool or LocalDecoders()))
        return instances[-1]

    yield make
    for predictor in instances:
        predictor.close()


@pytest.fixture
def photo(mnist):
    """A seven, so large that it needs a decoder."""
    return png(np.kron(mnist.test.pixels[0].numpy(), np.ones((20, 20), np.uint8)))


def test_small_and_large_images_are_read(make, seven, photo):
    predictor = make()
    for upload in (seven, photo):
        assert asyncio.run(predictor.predict(upload)).answer.digit == 7


def test_what_is_seen_already_goes_with_what_others_send(make, seven, mnist):
    predictor = make()
    preprocessed = from_mnist_pixels(mnist.test.pixels[1].numpy(), "image")

    async def go():
        return await asyncio.gather(predictor.predict(preprocessed), predictor.predict(seven))

    assert [result.answer.digit for result in asyncio.run(go())] == [2, 7]
    assert sum(predictor.metrics.batch_images.counts) == 1, "in one forward"
    predicted = asyncio.run(predictor.predict(preprocessed, 1, explain=True))
    assert (predicted.answer.digit, predicted.saliency.shape) == (2, (28, 28))


def test_the_command_line_reads_as_the_service_does(make, live, seven, settings):
    served = asyncio.run(make().predict(seven)).answer
    local = predict_sync(seven, live.model, settings.max_pixels).answer
    assert local.probabilities == pytest.approx(served.probabilities, abs=1e-6)


def test_another_version_answers_where_it_is_asked(make, registry, seven):
    other = registry.save(weights_of(MyNet()), registry.card(1))
    predictor = make()
    assert asyncio.run(predictor.predict(seven, other)).answer.version == other
    assert asyncio.run(predictor.predict(seven)).answer.version == 1
    with pytest.raises(NotFound):
        asyncio.run(predictor.predict(seven, 99))


def test_past_the_queue_a_prediction_is_refused_at_once(make, seven, photo):
    decoders = LocalDecoders(is_open=False)
    predictor = make(decoders, max_queue=2)

    async def crowd():
        waiting = [asyncio.create_task(predictor.predict(photo)) for _ in range(2)]
        await asyncio.sleep(0.05)
        with pytest.raises(QueueFull) as excinfo:
            await predictor.predict(seven)
        decoders.is_open = True
        answers = await asyncio.gather(*waiting)
        assert (await predictor.predict(seven)).answer.digit == 7, "there is room again"
        return excinfo.value.retry_after, [result.answer.digit for result in answers]

    assert asyncio.run(crowd()) == (1, [7, 7])


def test_the_deadline_is_kept_and_gives_the_place_back(make, photo):
    predictor = make(LocalDecoders(is_open=False), predict_timeout=0.05)
    with pytest.raises(DeadlineExceeded, match=r"0\.05 s"):
        asyncio.run(predictor.predict(photo))
    assert predictor.in_flight == 0


def test_a_refusal_gives_the_place_back(make):
    predictor = make()
    with pytest.raises(NotAnImage):
        asyncio.run(predictor.predict(b"no image"))
    assert predictor.in_flight == 0


def test_a_batch_is_of_one_version_and_in_order(make, mnist):
    uploads = [png(pixels.numpy()) for pixels in mnist.test.pixels[:20]]
    uploads.insert(5, b"no image")
    predicted, version = asyncio.run(make().predict_batch(uploads))
    assert isinstance(predicted.pop(5), NotAnImage)
    digits = [result.answer.digit for result in predicted]
    correct = sum(a == b for a, b in zip(digits, mnist.test.labels[:20].tolist(), strict=True))
    assert correct >= 19
    assert {result.answer.version for result in predicted} == {version} == {1}


def test_explaining_is_of_the_version_that_answered(make, registry, seven):
    predicted = asyncio.run(make().predict(seven, explain=True))
    assert (predicted.answer.version, predicted.saliency.shape) == (1, (28, 28))
    other = registry.save(weights_of(MyNet()), registry.card(1))
    assert asyncio.run(make().predict(seven, other, explain=True)).answer.version == other


def test_batch_that_misses_its_deadline_begins_no_more_images(make, seven, photo):
    decoders = LocalDecoders(is_open=False)
    predictor = make(decoders, predict_timeout=0.1, decoders=1)
    with pytest.raises(DeadlineExceeded, match=r"0\.5 s"):
        asyncio.run(predictor.predict_batch([photo] * 5))
    assert decoders.started <= 1  # on a busy machine, the time may be over before the first
    predictor.settings = predictor.settings.model_copy(update={"predict_timeout": 120})
    results, _ = asyncio.run(predictor.predict_batch([seven] * 100))
    assert {result.answer.digit for result in results} == {7}


def test_batch_uses_all_decoders(make, photo):
    decoders = LocalDecoders(is_open=False)
    predictor = make(decoders, decoders=3)

    async def go():
        batch = asyncio.create_task(predictor.predict_batch([photo] * 5))
        while decoders.started < 3:
            await asyncio.sleep(0.001)
        decoders.is_open = True
        results, _ = await batch
        return [result.answer.digit for result in results]

    assert asyncio.run(go()) == [7] * 5


def test_a_batch_of_bad_images_alone_is_answered(make):
    predicted, _ = asyncio.run(make().predict_batch([b"", b"x"]))
    assert [type(result) for result in predicted] == [NotAnImage, NotAnImage]


def test_large_images_do_not_hold_up_small_ones(make, seven, photo):
    decoders = LocalDecoders(is_open=False)
    predictor = make(decoders)

    async def go():
        large = [asyncio.create_task(predictor.predict(photo)) for _ in range(6)]
        await asyncio.sleep(0)
        small = (await predictor.predict(seven)).answer.digit
        large_done = [task.done() for task in large]
        decoders.is_open = True
        await asyncio.gather(*large)
        return small, large_done

    assert asyncio.run(go()) == (7, [False] * 6)
