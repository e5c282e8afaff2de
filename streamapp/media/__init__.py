"""Images from elsewhere: fetch the bytes, decode them once, keep the picture while several agents want it."""
