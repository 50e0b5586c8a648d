"""Finds what is wrong with a data set: ``python scripts/check_data.py data=ytvis data.root=PATH``; see ``--help``."""

from compfeat.commands.check_data import check_data
from compfeat.commands.launch import launch

if __name__ == "__main__":
    launch(check_data, "check_data")
