"""Compares runs on Weights & Biases: ``python scripts/dashboard.py runs=FOLDER entity=NAME``; ``--help`` lists keys."""

from compfeat.commands.dashboard import dashboard
from compfeat.commands.launch import launch

if __name__ == "__main__":
    launch(dashboard, "dashboard")
