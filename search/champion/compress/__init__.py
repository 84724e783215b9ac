"""Model compression: distillation, structured pruning, int8 export, and latency measurement."""
