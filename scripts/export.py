"""Hands over a trained network: ``python scripts/export.py ckpt=PATH output=FOLDER``; ``--help`` lists the keys."""

from compfeat.commands.export import export
from compfeat.commands.launch import launch

if __name__ == "__main__":
    launch(export, "export")
