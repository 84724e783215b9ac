"""Everything that is done with a finished study's model: registry, export, compression, serving."""
