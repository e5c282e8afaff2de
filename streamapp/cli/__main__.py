"""`python -m streamapp.cli` is `streamapp`."""

from streamapp.cli import main

main()
