"""What went wrong in a training, from whatever it left: curves of any layout, a verdict on them, ranked causes."""
