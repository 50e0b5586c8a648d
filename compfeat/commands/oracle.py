"""Says what a setting of the built-in data set holds for a network to win."""

import json
from itertools import product
from typing import Any, Protocol

from hydra.utils import instantiate
from rich.table import Table

from compfeat.commands.console import console
from compfeat.data.datamodule import VISDataModule
from compfeat.evaluation import evaluate
from compfeat.experiments.oracle import AMBIGUITIES, Oracle
from compfeat.quantities import Count, Seed

LABELS = ("soft", "letter")


class OracleConfig(Protocol):
    """The keys of ``conf/oracle.yaml``."""

    support_frames: Count
    seed: Seed
    data: Any


def oracle(cfg: OracleConfig) -> None:
    """Prints what each ambiguity costs in AP, as ``conf/oracle.yaml`` describes; the figures as json on the last line.

    Raises:
        ValueError: the data is not the built-in set, whose json alone says what frames hide.
    """
    if cfg.data.get("generator") is None:
        raise ValueError(
            "data: an oracle needs the built-in data set, which says what its frames hide: data=shapes_hard"
        )
    data: VISDataModule = instantiate(cfg.data)
    data.prepare_data("validate")
    data.setup("validate")
    truth = json.loads(data.val_annotations.path.read_text())
    table = Table(
        title=f"tube AP of an oracle that is not told ... ({len(truth['videos'])} videos)", title_justify="left"
    )
    table.add_column("")
    for labels in LABELS:
        table.add_column(labels, justify="right")
        table.add_column(f"{labels}, {cfg.support_frames} support frames", justify="right")
    figures: dict[str, dict[str, float]] = {}
    for name, hidden in AMBIGUITIES.items():
        figures[name] = {}
        for labels, support in product(LABELS, (0, cfg.support_frames)):
            results = Oracle(hidden, support, letter=labels == "letter").results(truth, cfg.seed)
            figures[name][f"{labels}, {support}"] = evaluate(truth, results)["AP"]
        table.add_row(name, *(f"{ap:.3f}" for ap in figures[name].values()))
    console.print(table)
    print(json.dumps(figures))
