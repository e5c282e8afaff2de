"""The local servers for development, tests and the demo: real ones, each a child process in its own directory.

`python -m stack up` starts them. From Python: `up`, `down`, `kill`, `start`, `urls`, … all of them blocking.
"""

from stack.commands import SERVERS, State, down, environment, kill, start, status, up, urls, wipe
from stack.errors import StackError
from stack.instance import Instance

__all__ = [
    "SERVERS",
    "Instance",
    "StackError",
    "State",
    "down",
    "environment",
    "kill",
    "start",
    "status",
    "up",
    "urls",
    "wipe",
]
