import pytest

from chorale.lightning_models.train_config import LrSchedule
from chorale.lightning_models.training.schedule import PLATEAU_FACTOR, Plateau, lr_factor

ALL: list[LrSchedule] = ["constant", "cosine", "one_cycle", "plateau"]


def factors(schedule: LrSchedule, n_steps: int, warm_up: float = 0.05) -> list[float]:
    return [
        lr_factor(i, n_steps=n_steps, schedule=schedule, warm_up=warm_up) for i in range(n_steps)
    ]


@pytest.mark.parametrize("schedule", ALL)
def test_the_learning_rate_rises_to_its_maximum_falls_and_stays_positive(
    schedule: LrSchedule,
) -> None:
    course = factors(schedule, 200)
    assert course[0] <= 0.1
    assert max(course) == 1.0
    assert min(course) > 0
    rise = course[: course.index(1.0) + 1]
    fall = course[course.index(1.0) :]
    assert rise == sorted(rise)
    assert fall == sorted(fall, reverse=True)
    assert fall[-1] == 1.0 if schedule in ("constant", "plateau") else fall[-1] < 0.01


@pytest.mark.parametrize("n_steps", [1, 2, 3])
@pytest.mark.parametrize("schedule", ALL)
def test_the_shortest_training_has_a_learning_rate(schedule: LrSchedule, n_steps: int) -> None:
    course = factors(schedule, n_steps)
    assert all(0 < factor <= 1 for factor in course)
    assert max(course) == 1.0


@pytest.mark.parametrize(("warm_up", "peak"), [(0.0, 0), (0.1, 9), (0.5, 49)])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "plateau"])
def test_warm_up_is_the_share_of_steps_in_which_the_rate_rises(
    schedule: LrSchedule, warm_up: float, peak: int
) -> None:
    course = factors(schedule, 100, warm_up)
    assert course.index(1.0) == peak


def test_one_cycle_ignores_warm_up() -> None:
    assert factors("one_cycle", 100, 0.0) == factors("one_cycle", 100, 0.5)


def after(losses: list[float], *, patience: int = 2) -> Plateau:
    plateau = Plateau(patience)
    for loss in losses:
        plateau.update(loss)
    return plateau


def test_a_plateau_longer_than_its_patience_lowers_the_rate() -> None:
    assert after([3, 2, 1, 1, 1]).factor == 1
    assert after([3, 2, 1, 1, 1, 1]).factor == PLATEAU_FACTOR
    assert after([3, 2, 1, 1, 1, 1, 1, 1]).factor == PLATEAU_FACTOR
    assert after([3, 2, 1, 1, 1, 1, 1, 1, 1]).factor == pytest.approx(PLATEAU_FACTOR**2)


def test_decreasing_losses_never_lower_the_rate_and_barely_decreasing_ones_do() -> None:
    assert after([10 * 0.9**i for i in range(30)]).factor == 1
    assert after([1 - 1e-5 * i for i in range(4)]).factor == PLATEAU_FACTOR


def test_a_better_loss_resets_the_patience() -> None:
    assert after([3, 3, 3, 2, 2, 2]).factor == 1


def test_patience_is_a_share_of_the_epochs_and_at_least_one() -> None:
    assert [Plateau.of(n).patience for n in (1, 5, 30, 100)] == [1, 1, 3, 10]
