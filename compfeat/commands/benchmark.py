"""Measures speed and memory."""

import sys
from collections.abc import Callable
from typing import Any

from compfeat.benchmarks.attention import attention
from compfeat.benchmarks.data import data
from compfeat.benchmarks.evaluation import evaluation
from compfeat.benchmarks.inference import inference
from compfeat.benchmarks.training import training
from compfeat.commands.launch import launch

BENCHMARKS: dict[str, Callable[[Any], None]] = {
    "attention": attention,
    "data": data,
    "evaluation": evaluation,
    "inference": inference,
    "training": training,
}
USAGE = f"python scripts/benchmark.py {{{'|'.join(BENCHMARKS)}}} [key=value ...]; NAME --help lists its keys"


def benchmark() -> None:
    """Launches the benchmark that the first argument names."""
    name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if name in BENCHMARKS:
        launch(BENCHMARKS[name], f"benchmark/{name}")
    elif name in ("-h", "--help"):
        print(USAGE)
    else:
        print(f"error: there is no benchmark {name!r}; {USAGE}", file=sys.stderr)
        sys.exit(2)
