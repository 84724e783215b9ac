"""Features in, a trained classifier out: architectures, the LightningModule, training at speed."""
