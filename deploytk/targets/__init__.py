"""Where models run: one module or package per target."""
