"""Measures a checkpoint: ``python scripts/evaluate.py ckpt=PATH data=...``; ``--help`` lists groups and keys."""

from compfeat.run import evaluate, launch

if __name__ == "__main__":
    launch(evaluate, "evaluate")
