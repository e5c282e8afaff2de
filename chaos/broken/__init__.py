"""A build that is broken on purpose, to prove that the comparison can fail. The product has no switch for it."""
