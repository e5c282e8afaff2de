"""Where to go on in a partition: a pure decision about its checkpoint in Redis and its log in Kafka."""

from typing import NamedTuple

#: The checkpoint of a partition of which nothing is delivered.
NOTHING = -1


class Placement(NamedTuple):
    """The offset to read next, the checkpoint to count from, and what is wrong, if something is."""

    position: int
    checkpoint: int
    problem: str = ""


def place(*, checkpoint: int, beginning: int, end: int) -> Placement:
    """Place a partition whose log has the offsets `beginning` to `end - 1`.

    A log that ends before the checkpoint has lost records in Kafka, and gives their offsets to new ones. They
    must not be taken for delivered, so the checkpoint goes back; result ids absorb what is a repeat.
    """
    if checkpoint == NOTHING:
        return Placement(beginning, NOTHING)
    if checkpoint >= end:
        return Placement(end, end - 1, f"Kafka lost its records {end} to {checkpoint}, which had been delivered")
    if checkpoint + 1 < beginning:
        lost = f"records {checkpoint + 1} to {beginning - 1} expired in Kafka before they were delivered"
        return Placement(beginning, checkpoint, lost)
    return Placement(checkpoint + 1, checkpoint)
