"""Several models as one: what each says goes in, one answer comes out. No model is run here."""
