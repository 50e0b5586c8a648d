"""Compares evaluated runs over seeds: ``python scripts/report.py runs=FOLDER``."""

from compfeat.report import report
from compfeat.run import launch

if __name__ == "__main__":
    launch(report, "report")
