"""What can go wrong, said in one sentence to whoever runs the stack."""


class StackError(Exception):
    """A server, an artefact or a port is not as needed; the message says what to do about it."""
