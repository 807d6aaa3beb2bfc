"""Model files read as lists of nodes, without running them; and what a file really is."""
