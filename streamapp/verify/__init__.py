"""Is what was given out what the state says? State against rows and results, rows against documents."""
