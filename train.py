"""Trains a network: ``python train.py model=... data=... key=value``; ``--help`` lists groups and keys."""

if __name__ == "__main__":  # a process that draws data imports this file too, and needs nothing of it
    from compfeat.commands.launch import launch
    from compfeat.commands.train import train

    launch(train, "train")
