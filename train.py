"""Trains a network: ``python train.py model=... data=... key=value``; ``--help`` lists groups and keys."""

from compfeat.commands.launch import launch
from compfeat.commands.train import train

if __name__ == "__main__":
    launch(train, "train")
