"""Dead letters: events that their functions failed to take for good.

Example:
    ```python
    from faas_connector.dead_letters import DeadLetters
    ```
"""

from faas_connector.dead_letters.letters import DeadLetters, replay_file
from faas_connector.dead_letters.lines import UnreadableLine
from faas_connector.dead_letters.replay import Replayed
from faas_connector.dead_letters.shelf import Fate
from faas_connector.dead_letters.tally import Progress
from faas_connector.store import Entry, Query, Reason

__all__ = [
    "DeadLetters",
    "Entry",
    "Fate",
    "Progress",
    "Query",
    "Reason",
    "Replayed",
    "UnreadableLine",
    "replay_file",
]
