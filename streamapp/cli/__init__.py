"""The operator's command line: `streamapp …`. Exit code 0 good, 1 found something wrong, 2 usage."""

from streamapp.cli.main import main

__all__ = ["main"]
