"""Dataset catalog: one file per dataset, each makes a track table (`datasets.base`)."""
