"""Finds the objects of a video: ``python scripts/predict.py ckpt=PATH video=PATH``; ``--help`` lists the keys."""

from compfeat.run import launch, predict

if __name__ == "__main__":
    launch(predict, "predict")
