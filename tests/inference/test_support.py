import pytest
import torch

from compfeat.inference.support import SupportBank


def maps(value, *shape):
    return {"0": torch.full((*shape, 2, 3, 4), float(value)), "1": torch.full((*shape, 2, 1, 2), -float(value))}


def kept(bank):
    return bank.maps["0"][0, :, 0, 0, 0].tolist()


def test_a_filled_bank_holds_all_frames_as_one_clip():
    bank = SupportBank(frames=3)
    bank.fill({level: torch.stack([maps(i)[level] for i in range(3)]) for level in ("0", "1")})
    assert bank.maps["0"].shape == (1, 3, 2, 3, 4) and bank.maps["1"].shape == (1, 3, 2, 1, 2)
    assert kept(bank) == [0, 1, 2] and len(bank) == 3


def test_a_causal_bank_takes_every_nth_frame_and_drops_the_oldest():
    bank = SupportBank(frames=2, interval=3)
    taken = [i for i in range(10) if bank.observe(maps(i))]
    assert taken == [0, 3, 6, 9]
    assert kept(bank) == [6, 9]


def test_a_causal_bank_keeps_nothing_of_the_frames_that_it_does_not_take():
    bank, at_once = SupportBank(frames=2, interval=4), maps(1, 8)["0"]
    for x in at_once:
        bank.observe({"0": x})
    assert [x["0"].untyped_storage().nbytes() for x in bank._maps] == [at_once[0].nbytes] * 2


def test_reset_forgets():
    bank = SupportBank(frames=2, interval=3)
    for i in range(2):
        bank.observe(maps(i))
    bank.reset()
    assert len(bank) == 0 and bank.observe(maps(7)) and kept(bank) == [7]


@pytest.mark.parametrize("wrong", [{"frames": 0}, {"interval": 0}, {"window": 0}])
def test_knobs_out_of_range(wrong):
    with pytest.raises(ValueError, match="at least 1"):
        SupportBank(**wrong)
