"""LeRobotDataset v3, the dataset format of Hugging Face's lerobot: read into episodes, and written from them.

There, `action[t]` is taken at frame t; here, `action[t]` led to frame t. Both ways, the shift is made in this package.
"""

from vmail_core.episodes.lerobot.reading import read_lerobot
from vmail_core.episodes.lerobot.writing import write_lerobot

__all__ = ["read_lerobot", "write_lerobot"]
