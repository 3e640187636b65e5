"""Is growing a network worth it? Runs that say so, at equal compute."""
