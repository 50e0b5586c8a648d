"""Numbers with their ranges, and paths, as the constructors and commands of this project are annotated with them.

A config is held against these annotations before anything is built, drawn or read (``compfeat.config_check``).
The upper bounds keep a slip of the finger from filling the machine; nobody comes near them on purpose.
"""

from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt, MinLen, MultipleOf

Count = Annotated[int, Ge(1), Le(1_000_000)]
Natural = Annotated[int, Ge(0), Le(1_000_000)]
Channels = Annotated[int, Ge(1), Le(16_384)]
GroupedChannels = Annotated[Channels, MultipleOf(16)]  # whose half makes eight groups of a group norm
Layers = Annotated[int, Ge(1), Le(100)]
Side = Annotated[int, Ge(1), Le(16_384)]  # pixels
SupportFrames = Annotated[int, Ge(0), Le(1_000)]
Workers = Annotated[int, Ge(0), Le(512)]  # processes
Seed = Annotated[int, Ge(0), Le(2**32 - 1)]
Port = Annotated[int, Ge(0), Le(65_535)]  # 0 is any that is free
Share = Annotated[float, Ge(0), Le(1)]  # and probabilities
Part = Annotated[float, Ge(0), Lt(1)]  # beside which something else must be left
Positive = Annotated[float, Gt(0), Le(1_000_000)]
Weight = Annotated[float, Ge(0), Le(1_000_000)]
Seconds = Annotated[float, Ge(0), Le(1_000_000)]
Turn = Annotated[float, Ge(0), Le(180)]  # degrees
Slant = Annotated[float, Ge(0), Lt(90)]  # degrees
PathName = Annotated[str, MinLen(1)]  # of a file or folder; the current one is .
