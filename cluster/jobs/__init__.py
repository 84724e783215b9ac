"""Ray jobs: submit, list, follow and stop them on a remote cluster."""
