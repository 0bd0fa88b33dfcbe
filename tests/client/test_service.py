"""Both clients against the real service."""

import inspect
from uuid import uuid4

import pytest

from mynet_client import ApiError, AsyncClient, Client, Prediction, Problem
from tests.conftest import ROOT, png

SEVEN = ROOT / "docs/images/seven.jpg"
TWO_LINES = ROOT / "docs/images/two-lines.png"


def test_ready(mynet):
    assert mynet.ready().device


def test_predict_takes_bytes_and_paths(mynet, seven):
    for image in (seven, SEVEN, str(SEVEN)):
        answer = mynet.predict(image)
        assert (answer.digit, answer.is_digit, answer.version) == (7, True, mynet.ready().version)
        assert answer.confidence == answer.probabilities[7]
        assert answer.seen is None


def test_predict_with_a_version_and_reasons(mynet, seven):
    answer = mynet.predict(seven, version=1, explain=True)
    assert answer.version == 1
    assert answer.seen.startswith("data:image/png;base64,")
    assert answer.saliency.startswith("data:image/png;base64,")
    assert answer.normalisation.inverted is False
    assert [len(layer.values) for layer in answer.activations] == [300, 256, 128]


def test_read_gives_all_lines(mynet):
    reading = mynet.read(TWO_LINES)
    assert reading.text == "\n".join(line.text for line in reading.lines)
    assert [len(line.digits) for line in reading.lines] == [4, 2]
    left, top, right, bottom = reading.lines[0].digits[0].box
    assert left < right < 460 and top < bottom < 300
    assert mynet.read(TWO_LINES, version=1).version == 1


def test_predict_names_the_reason(mynet):
    answer = mynet.predict(TWO_LINES)
    assert (answer.is_digit, answer.reason, answer.count) == (False, "several_digits", 6)


def test_predict_batch_tells_of_each(mynet, seven):
    answer = mynet.predict_batch([seven, b"no image", SEVEN], version=1)
    first, second, third = answer.predictions
    assert isinstance(first, Prediction)
    assert isinstance(second, Problem)
    assert (first.digit, second.code, third.digit) == (7, "not_an_image", 7)
    assert answer.version == 1


@pytest.mark.parametrize(
    ("call", "status", "code"),
    [
        (lambda mynet: mynet.predict(b"no image"), 415, "not_an_image"),
        (lambda mynet: mynet.predict(SEVEN, version=99), 404, "not_found"),
        (lambda mynet: mynet.predict_batch([]), 400, "malformed_request"),
        (lambda mynet: mynet.job("../models"), 404, "not_found"),
        (lambda mynet: mynet.delete(mynet.models().current), 409, "conflict"),
        (lambda mynet: mynet.upload(b"no weights"), 400, "malformed_request"),
    ],
)
def test_refusals_are_exceptions(mynet, call, status, code):
    with pytest.raises(ApiError) as error:
        call(mynet)
    assert (error.value.status, error.value.code) == (status, code)
    assert error.value.detail == str(error.value)
    assert error.value.request_id


def test_what_no_route_is_reached_with_is_told_alike(connect, url):
    with pytest.raises(ApiError) as error:
        connect(url, api_key="x" * 500_000).models()
    assert (error.value.status, error.value.code) == (400, "malformed_request")
    assert error.value.request_id


def test_wrong_fields_are_named(mynet):
    with pytest.raises(ApiError) as error:
        mynet.train(epochs=0, momentum=2.0)
    assert [field_error.field for field_error in error.value.errors] == ["epochs", "momentum"]


def test_a_file_that_is_not_there(mynet):
    with pytest.raises(FileNotFoundError):
        mynet.predict("missing.png")


def test_jobs_are_listed_paused_resumed_and_cancelled(mynet):
    job = mynet.train(epochs=100, batch_size=10, promote="never", seed=1, idempotency_key=None)
    key = uuid4().hex
    waiting, same = (mynet.train(promote="never", seed=1, idempotency_key=key) for _ in range(2))
    assert mynet.cancel(waiting).id == same.id
    next(event for event in mynet.events(job) if event.event == "batch")
    assert mynet.pause(job).status == "paused"
    assert mynet.resume(job.id).status in ("queued", "running")
    assert mynet.cancel(job).is_final
    assert mynet.log(job)[0].startswith("==>>> epoch: 0, batch index: 100")
    page = mynet.jobs(status="cancelled", limit=2)
    assert [entry.id for entry in page.data] == [waiting.id, job.id]
    assert job.id not in [entry.id for entry in mynet.jobs(after=job).data]
    with pytest.raises(ApiError) as error:
        mynet.resume(job)
    assert error.value.code == "conflict"
    mynet.delete_job(job)
    with pytest.raises(ApiError) as error:
        mynet.job(job)
    assert error.value.code == "not_found"


def test_dry_run_answers_the_plan_and_queues_nothing(mynet):
    plan = mynet.dry_run(epochs=5, batch_size=200)
    assert (plan.hyperparameters["epochs"], plan.steps) == (5, 50)
    assert sum(plan.images.values()) == 2000
    with pytest.raises(ApiError) as error:
        mynet.dry_run(epochs=0)
    assert error.value.code == "invalid_field"
    assert [job for job in mynet.jobs().data if job.hyperparameters["batch_size"] == 200] == []


def test_job_has_the_webhook_of_its_request(mynet):
    webhook = {"url": "https://a.example/hooks", "events": ["failed", "promoted"]}
    job = mynet.train(webhook=webhook, idempotency_key=None)
    assert job.webhook.model_dump() == webhook
    assert mynet.cancel(job).webhook == job.webhook


def test_corrections_are_kept_listed_and_deleted(mynet, digits):
    first = mynet.feedback(SEVEN, 1, prediction_id=mynet.predict(SEVEN).id)
    second = mynet.feedback(png(digits[1]), 2)
    assert mynet.feedback(png(digits[1]), 2) == second
    with pytest.raises(ApiError) as error:
        mynet.feedback(SEVEN, 7)
    assert (error.value.code, first.label) == ("conflict", 1)
    replaced = mynet.feedback(SEVEN, 7, replace=True)
    assert (replaced.id, replaced.label, replaced.prediction_id) == (
        first.id,
        7,
        first.prediction_id,
    )
    page = mynet.corrections(limit=1)
    assert (page.data, page.has_more) == ([replaced], True)
    assert mynet.corrections(after=replaced).data == [second]
    assert mynet.feedback(mynet.corrected_image(replaced), 7) == replaced
    job = mynet.train(include_feedback=True, idempotency_key=None)
    assert mynet.cancel(job).hyperparameters["include_feedback"] is True
    shapeless = mynet.feedback(png(digits[1]), None, replace=True)
    assert (shapeless.id, shapeless.label, shapeless.is_digit) == (second.id, None, False)
    assert mynet.dataset("corrections").non_digits == 1
    (image,) = mynet.dataset_images("corrections", is_digit=False).data
    assert (image.id, image.label, image.is_digit) == (second.id, None, False)
    (image,) = mynet.dataset_images("corrections", is_digit=True).data
    assert (image.id, image.label, image.is_digit) == (replaced.id, 7, True)
    plan = mynet.dry_run(include_feedback=True, recipe="robust")
    assert (plan.non_digits, plan.images["7"]) == (1, mynet.dry_run().images["7"] + 1)
    for correction in (replaced, second.id):
        mynet.delete_correction(correction)
    assert mynet.corrections().data == []


def test_weights_go_down_and_up(mynet, tmp_path):
    weights = mynet.weights(1)
    assert weights != mynet.weights(1, format="pt")
    (tmp_path / "weights").write_bytes(weights)
    card = mynet.upload(tmp_path / "weights", note="mine")
    assert (card.note, card.weights_digest) == ("mine", mynet.model(1).weights_digest)
    before = mynet.models().current
    assert mynet.promote(card.version).version == card.version
    assert mynet.models().current == card.version
    assert mynet.rollback().version == before
    mynet.delete(card.version)
    assert card.version not in [model.version for model in mynet.models().data]


def test_both_clients_can_do_the_same():
    def methods(kind):
        public = {name: method for name, method in vars(kind).items() if not name.startswith("_")}
        return {
            name: inspect.signature(method).parameters.keys() for name, method in public.items()
        }

    assert methods(Client) == methods(AsyncClient)
    assert all(method.__doc__ for name, method in vars(Client).items() if not name.startswith("_"))
