"""From an index of annotations to clips: which frames, their pixels and masks, how they are transformed."""
