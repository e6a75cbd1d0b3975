"""Episodes: what one is (contract 2), where they lie on disk, and how recorded bags become them."""

from vmail_core.episodes.episode import Episode
from vmail_core.episodes.store import list_episodes, load_episodes, read_episode, write_episode

__all__ = ["Episode", "list_episodes", "load_episodes", "read_episode", "write_episode"]
