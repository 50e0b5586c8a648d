"""Finds the objects of a video: ``python scripts/predict.py ckpt=PATH video=PATH``; ``--help`` lists the keys."""

from compfeat.commands.launch import launch
from compfeat.commands.predict import predict

if __name__ == "__main__":
    launch(predict, "predict")
