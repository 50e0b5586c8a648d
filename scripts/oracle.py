"""What each ambiguity of the built-in data costs: ``python scripts/oracle.py data=shapes_ablation``; see ``--help``."""

if __name__ == "__main__":  # a process that draws data imports this file too, and needs nothing of it
    from compfeat.commands.launch import launch
    from compfeat.commands.oracle import oracle

    launch(oracle, "oracle")
