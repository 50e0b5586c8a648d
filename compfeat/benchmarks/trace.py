"""Where the time of one call goes."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile


def write_trace(way: Callable[[], Any], path: Path) -> None:
    """Prints the operations that take most of the time of a call, and writes all of them for a trace viewer."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler's own lines help nobody
    way()  # what libraries do once
    gpu = torch.cuda.is_available()
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]) as profiler:
        way()
    path.parent.mkdir(parents=True, exist_ok=True)
    profiler.export_chrome_trace(str(path))
    most = "self_cuda_time_total" if gpu else "self_cpu_time_total"
    print(profiler.key_averages().table(sort_by=most, row_limit=20, max_name_column_width=50))
    print(f"all of it: {path}, for chrome://tracing or ui.perfetto.dev")
