"""Finds what is wrong with a data set: ``python scripts/check_data.py data=ytvis data.root=PATH``; see ``--help``."""

if __name__ == "__main__":  # a process that draws data imports this file too, and needs nothing of it
    from compfeat.commands.check_data import check_data
    from compfeat.commands.launch import launch

    launch(check_data, "check_data")
