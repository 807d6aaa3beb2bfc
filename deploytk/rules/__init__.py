"""What a target asks of a graph: one small class or function per rule."""
