"""Packs a finished study's ensemble into a bundle, with its model card."""
