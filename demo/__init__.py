"""The demo: plays the backend against a running system and prints what comes back."""
