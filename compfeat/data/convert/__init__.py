"""Other formats of labelled video into the YouTube-VIS layout, and back: one file a format."""
