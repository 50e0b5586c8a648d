"""A network that has learned nothing yet, as train.py keeps one."""

from composed import composed
from hydra.utils import instantiate
from omegaconf import OmegaConf


def recipe(*overrides):
    cfg = composed("train", *overrides)
    OmegaConf.set_struct(cfg, False)
    cfg.model.detector.num_classes = 1
    cfg.model.categories = [{"id": 1, "name": "cat"}]
    cfg.model.detector.backbone.frozen = False
    return OmegaConf.to_container(cfg.model, resolve=True)


def checkpoint(*overrides):
    """What a checkpoint of it holds."""
    written = recipe(*overrides)
    detector = instantiate(written, _convert_="all").detector
    weights = {f"detector.{name}": value for name, value in detector.state_dict().items()}
    return {"predictor": written, "state_dict": weights}
