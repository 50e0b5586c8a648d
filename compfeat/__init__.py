"""CompFeat: comprehensive feature aggregation for video instance segmentation (Fu et al., AAAI 2021)."""
