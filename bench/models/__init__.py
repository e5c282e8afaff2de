"""What the models cost: each stage, the bare loop, and the whole pipeline, at real sizes with random weights."""
