"""Measures a checkpoint: ``python scripts/evaluate.py ckpt=PATH data=...``; ``--help`` lists groups and keys."""

if __name__ == "__main__":  # a process that draws data imports this file too, and needs nothing of it
    from compfeat.commands.evaluate import evaluate
    from compfeat.commands.launch import launch

    launch(evaluate, "evaluate")
