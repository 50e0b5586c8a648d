"""Finds the objects of videos dropped into a page: ``python scripts/serve.py ckpt=PATH``; ``--help`` lists the keys."""

from compfeat.commands.launch import launch
from compfeat.commands.serve import serve

if __name__ == "__main__":
    launch(serve, "serve")
