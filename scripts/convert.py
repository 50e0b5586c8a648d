"""Converts data sets: ``python scripts/convert.py NAME source=PATH output=PATH``; ``NAME --help`` lists its keys."""

from compfeat.commands.convert import convert

if __name__ == "__main__":
    convert()
