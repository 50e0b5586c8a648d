"""What each ambiguity of the built-in data costs: ``python scripts/oracle.py data=shapes_ablation``; see ``--help``."""

from compfeat.commands.launch import launch
from compfeat.commands.oracle import oracle

if __name__ == "__main__":
    launch(oracle, "oracle")
