"""Sets runs beside the paper's tables: ``python scripts/report.py runs=FOLDER``."""

from compfeat.commands.launch import launch
from compfeat.commands.report import report

if __name__ == "__main__":
    launch(report, "report")
