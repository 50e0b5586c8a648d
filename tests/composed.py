"""Configs as commands compose them."""

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig

from compfeat.commands.launch import CONF


def composed(name, *overrides):
    """With Hydra's own under ``hydra``, of which ``${hydra:...}`` tells."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose(name, list(overrides), return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    return cfg
