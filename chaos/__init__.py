"""Kill -9 in the middle of the work, round after round, and compare with a run that nobody disturbed."""
