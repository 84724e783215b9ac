"""Health checks of every node of a cluster, before anything is trained there."""
