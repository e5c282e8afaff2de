"""Make documents anew from rows, and rows anew from state, while both are in use."""
