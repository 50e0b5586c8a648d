"""What is wrong with a user's data, in one line."""


class AnnotationError(ValueError):
    """An annotation file or a frame it names is not as it should be; the message says where."""
