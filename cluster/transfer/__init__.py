"""Transfer of files and tasks between the driver and the nodes of a cluster."""
