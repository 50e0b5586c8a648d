"""What results are worth: tube AP of results.json against the true tubes."""

from compfeat.evaluation.tube_ap import evaluate

__all__ = ["evaluate"]
