import numpy as np
import pytest

from app.train.recipes.synthetic.strokes import draw_curve, parse_stroke


def draw(text, jitter=0.0, seed=1):
    return draw_curve(np.random.default_rng(seed), parse_stroke(text), jitter)


def test_draw_curve_begins_and_ends_at_its_ends():
    curve = draw("10,0 90,20 50,100")
    assert curve[0] == pytest.approx([0.1, 0])
    assert curve[-1] == pytest.approx([0.5, 1])


def test_draw_curve_of_a_corner_passes_through_it():
    def distance(text):
        return np.abs(draw(text) - [1, 0]).sum(1).min()

    assert distance("0,0 100,0! 100,100") < 1e-9
    assert distance("0,0 100,0 100,100") > 0.1


def test_draw_curve_of_a_straight_line_is_straight():
    across, down = draw("0,0 30,30 100,100").T
    assert across == pytest.approx(down)
    assert (np.diff(across) >= 0).all()


def test_draw_curve_takes_any_point_between_two():
    ends = np.array([draw("0,0 0,50~100,100", seed=seed)[-1] for seed in range(200)])
    assert ends[:, 1] == pytest.approx(0.5 + ends[:, 0] / 2)
    assert ends[:, 0].min() < 0.1
    assert ends[:, 0].max() > 0.9


def test_draw_curve_with_jitter_differs_by_seed_alone():
    first, second, other = (draw("0,0 50,50 0,100", 0.05, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, second)
    assert 0 < np.abs(first - other).max() < 0.5


@pytest.mark.parametrize("text", ["10", "10,a 20,20", "1,2,3 4,5"])
def test_parse_stroke_of_no_points_is_refused(text):
    with pytest.raises(ValueError):
        parse_stroke(text)
