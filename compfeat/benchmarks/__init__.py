"""Measurements behind the README's figures: speed and memory."""
