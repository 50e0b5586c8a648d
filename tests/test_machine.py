"""What a figure took on this machine."""

from pathlib import Path

import numpy as np
import pytest
import torch

from compfeat.machine import forget_peak_memory, peak_memory_gib

CPU = torch.device("cpu")


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux forgets a peak")
def test_the_peak_of_memory_begins_anew_when_it_is_forgotten():
    held = np.ones(2**26)  # half a GiB
    with_it = peak_memory_gib(CPU)
    del held
    assert peak_memory_gib(CPU) == pytest.approx(with_it, abs=0.05)  # it is a peak
    forget_peak_memory(CPU)
    without = peak_memory_gib(CPU)
    assert 0 < without < with_it - 0.4
    held = np.ones(2**25)
    assert peak_memory_gib(CPU) > without + held.nbytes / 2**30 - 0.05
