"""Trains a network: ``python train.py model=... data=... key=value``; ``--help`` lists groups and keys."""

from compfeat.run import launch, train

if __name__ == "__main__":
    launch(train, "train")
