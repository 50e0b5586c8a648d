import functools
import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from compfeat.masks import encode_inside
from compfeat.structures import Category, ClipBatch, Tube
from compfeat.training.module import NonFiniteLoss, VISModule
from compfeat.training.schedules import warmup_cosine, warmup_multistep


def schedule(make=warmup_multistep, **options):
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    scheduler = make(optimizer, steps_per_epoch=100, **options)
    rates = []
    for _ in range(1200):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_schedule_is_the_papers():
    rates = schedule()
    assert rates[0] == pytest.approx(1 / 3)
    assert rates[250] == pytest.approx(2 / 3)
    assert rates[500] == rates[799] == 1.0
    assert rates[800] == pytest.approx(0.1) and rates[1099] == pytest.approx(0.1)
    assert rates[1100] == pytest.approx(0.01)


def test_schedule_without_warm_up():
    assert schedule(warmup_steps=0, milestones=())[0] == 1.0


def test_cosine_schedule_warms_up_and_ends_at_zero():
    rates = schedule(warmup_cosine, epochs=12, warmup_steps=10, warmup_factor=0.5)
    assert rates[0] == 0.5
    assert rates[300] == pytest.approx(0.5 + 0.5**1.5)
    assert rates[600] == pytest.approx(0.5)
    assert 0 < rates[1199] < 1e-5


class FixedLosses(torch.nn.Module):
    def __init__(self, **losses):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.losses = losses

    def forward(self, batch):
        losses = {name: self.weight * value for name, value in self.losses.items()}
        return {**losses, "match_accuracy": torch.tensor(math.nan)}


class Predictor:
    def __init__(self, detector):
        self.detector = detector


def module(**losses):
    made = VISModule(
        Predictor(FixedLosses(**losses)),
        recipe={},
        optimizer=functools.partial(torch.optim.SGD, lr=0.0125),
        scheduler=warmup_multistep,
        batch_size=2,
        reference_batch=8,
        loss_weights={"loss_track": 3.0},
    )
    made.log = lambda *args, **kwargs: None
    return made


def batch():
    image = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    return ClipBatch(image, image[:, None], image, [(32, 32)] * 2, [{}, {}], [{}, {}], ["bear/3", "cat/7"])


def test_losses_are_weighed_by_name_and_summed():
    made, logged = module(loss_mask=0.5, loss_track=2.0), {}
    made.log = lambda name, value, **_: logged.update({name: float(value)})
    assert made.training_step(batch(), 0).item() == pytest.approx(6.5)
    assert logged == {"train/loss_mask": 0.5, "train/loss_track": 2.0, "train/loss": 6.5}  # no accuracy of nothing


def test_what_is_sampled_differs_between_seeds_steps_batches_and_ranks_alone():
    def drawn(seed, step, index, rank):
        made = module()
        made.seed, made._trainer = seed, SimpleNamespace(global_step=step, global_rank=rank)
        made.on_train_batch_start(batch(), index)
        return torch.rand(1).item()

    places = list(itertools.product((0, 1), repeat=4))
    values = [drawn(*place) for place in places]
    assert len(set(values)) == len(places) and values == [drawn(*place) for place in places]


def test_each_validation_measures_what_itself_has_found(monkeypatch):
    made, measured = module(), []
    monkeypatch.setattr("compfeat.training.module.evaluate", lambda _, results: measured.append(len(results)) or {})
    made.ground_truth, made.predictor.categories = {}, [Category(1, "cat")]
    mask = encode_inside(np.ones((4, 4), bool), (0, 0), (4, 4))
    made.predictor.predict = lambda frames: [Tube(1, [0], [(0.0, 0.0, 4.0, 4.0)], [mask], [[1.0]])]
    for sanity_checking in (True, False, False):
        made._trainer = SimpleNamespace(world_size=1, sanity_checking=sanity_checking)
        made.on_validation_epoch_start()
        made.validation_step(SimpleNamespace(id=1, frames=[None]), 0)
        made.on_validation_epoch_end()
    assert measured == [1, 1]


def test_a_loss_that_is_not_finite_stops_with_step_names_and_clips():
    with pytest.raises(
        NonFiniteLoss, match=r"step 0: loss_mask=nan, loss_track=inf on clips bear/3, cat/7.* module\.optimizer\.lr"
    ):
        module(loss_box_reg=1.0, loss_mask=math.nan, loss_track=math.inf).training_step(batch(), 0)
    with pytest.raises(NonFiniteLoss, match="step 0: loss_track=inf on"):
        module(loss_track=math.inf).training_step(batch(), 0)


def test_frames_per_second_count_the_wait_for_data_and_no_validation(monkeypatch):
    logged, seen, now = [], [], iter([0.0, 10.0, 12.0, 50.0, 60.0])  # training begins, two batches, validation, a batch
    monkeypatch.setattr("compfeat.training.module.perf_counter", lambda: next(now))
    made = module()
    made.log = lambda name, value, **_: (logged if name == "train/frames_per_second" else seen).append(value)
    made._trainer = SimpleNamespace(world_size=2, global_step=0, global_rank=0, fit_loop=SimpleNamespace())
    made.on_train_start()
    for index in range(3):
        made._trainer.fit_loop.total_batch_idx = index
        made.on_train_batch_start(batch(), index)
        made.on_train_batch_end(None, batch(), index)
        if index == 1:
            made.on_validation_end()
    assert torch.stack(logged).tolist() == pytest.approx([12 / 10, 12 / 2, 12 / 10])  # 2 ranks x 2 clips x 3 frames
    assert torch.stack(seen).tolist() == [12, 24, 36]


@pytest.mark.parametrize(("world", "accumulate", "expected", "steps"), [(1, 1, 0.0125 / 4, 101), (2, 2, 0.0125, 51)])
def test_learning_rate_scales_linearly_with_the_total_batch(world, accumulate, expected, steps):
    made = module(loss_mask=1.0)

    class Trainer:
        world_size, accumulate_grad_batches, num_training_batches = world, accumulate, 101
        fit_loop = SimpleNamespace(setup_data=lambda: None)

    made._trainer, epochs = Trainer(), []
    made.make_scheduler = lambda *given, steps_per_epoch: (
        epochs.append(steps_per_epoch) or warmup_multistep(*given, steps_per_epoch)
    )
    configured = made.configure_optimizers()
    assert configured["optimizer"].defaults["lr"] == 0.0125
    scheduler = configured["lr_scheduler"]["scheduler"]
    assert scheduler.base_lrs == [pytest.approx(expected)]
    assert configured["lr_scheduler"]["interval"] == "step" and epochs == [steps]


@pytest.mark.parametrize(
    ("make", "world", "told"),
    [
        (functools.partial(torch.optim.SGD, lr=0.0125), 1, None),
        (functools.partial(torch.optim.SGD, lr=0.01), 1, "lr was 0.003125 and is 0.0025"),
        (functools.partial(torch.optim.SGD, lr=0.0125), 2, "lr was 0.003125 and is 0.00625"),
        (functools.partial(torch.optim.AdamW, lr=0.0125), 1, "it was SGD and is AdamW"),
    ],
)
def test_the_optimizer_of_a_resumed_run_is_the_one_it_had(make, world, told):
    before, now = module(loss_mask=1.0), module(loss_mask=1.0)
    now.make_optimizer = make
    for made, size in ((before, 1), (now, world)):
        made._trainer = SimpleNamespace(
            world_size=size,
            accumulate_grad_batches=1,
            num_training_batches=100,
            fit_loop=SimpleNamespace(setup_data=lambda: None),
        )
    state = before.configure_optimizers()["optimizer"].state_dict()
    now.on_load_checkpoint({"optimizer": "SGD", "optimizer_states": [state]})
    if told is None:
        now.configure_optimizers()
    else:
        with pytest.raises(ValueError, match=told):
            now.configure_optimizers()
