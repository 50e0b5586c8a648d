"""Measures a checkpoint: ``python scripts/evaluate.py ckpt=PATH data=...``; ``--help`` lists groups and keys."""

from compfeat.commands.evaluate import evaluate
from compfeat.commands.launch import launch

if __name__ == "__main__":
    launch(evaluate, "evaluate")
