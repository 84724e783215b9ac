"""Connection to Ray: starts a private instance or joins a cluster, with token authentication."""
