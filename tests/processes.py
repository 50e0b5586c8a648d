"""What processes of tests do, in a module that they can import."""

import os


def end(device):
    os._exit(1)
