"""A batch of answers reads and serializes as each of them."""

import json

import numpy as np
import pytest
from pydantic_core import to_json

from app.api.routes.predict import prediction_fields, prediction_json
from app.predict.answers import BatchAnswers


def random_answers(count, rng):
    z = rng.normal(0, 12, (count, 10))
    shares = np.exp(z - z.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    answers = BatchAnswers(z.argmax(1), shares, rng.random(count) < 0.5, 3)
    return answers.with_counts(rng.integers(1, 3, count).tolist())


def without_id(content):
    """Return JSON without the id, which is random: 16 digits."""
    prefix = b'{"id":"'
    assert content.startswith(prefix)
    return content[len(prefix) + 16 :]


def test_json_is_that_of_the_fields_byte_for_byte():
    rng = np.random.default_rng(5)
    for count in (1, 2, 300):
        answers = random_answers(count, rng)
        for index, answer in enumerate(answers):
            expected = to_json(prediction_fields(answer))
            assert without_id(prediction_json(answers, index)) == without_id(expected)


def test_certain_answers_keep_their_form():
    probabilities = np.eye(10)[[3, 7]]
    answers = BatchAnswers(np.array([3, 7]), probabilities, np.array([True, False]), 12)
    expected = [to_json(prediction_fields(answer)) for answer in answers]
    contents = [prediction_json(answers, index) for index in range(2)]
    assert [*map(without_id, contents)] == [*map(without_id, expected)]


def test_it_is_a_sequence_of_answers():
    answers = random_answers(5, np.random.default_rng(6))
    assert len(answers) == 5
    assert [*answers][4] == answers[4] == answers.select([4])[0]
    assert answers[2].probabilities[answers[2].digit] == answers.confidences[2]
    assert [*BatchAnswers.none(2)] == []


def test_probabilities_have_at_most_seven_significant_digits():
    answers = random_answers(300, np.random.default_rng(7))
    for index, answer in enumerate(answers):
        fields = json.loads(prediction_json(answers, index), parse_float=str)
        for text, exact in zip(fields["probabilities"], answer.probabilities, strict=True):
            mantissa = text.lower().partition("e")[0]
            assert len(mantissa.replace(".", "").strip("0")) <= 7, text
            assert float(text) == pytest.approx(exact, rel=5.1e-7, abs=5e-23)
        assert fields["confidence"] == fields["probabilities"][answer.digit]


def test_several_digits_are_not_one():
    shares = np.full((3, 10), 0.1)
    answers = BatchAnswers(np.array([3, 7, 1]), shares, np.array([True, True, False]), 1)
    counted = answers.with_counts([1, 2, 1])
    assert [(a.is_digit, a.reason, a.digit_count) for a in counted] == [
        (True, None, 1),
        (False, "several_digits", 2),
        (False, "not_a_digit", 1),
    ]
