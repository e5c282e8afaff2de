"""The pure core: what is known of a post, and what follows from a fact. No I/O, no clock, no Faust."""
