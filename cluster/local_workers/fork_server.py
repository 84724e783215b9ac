"""A process that has imported what trials need, and forks a copy of itself for each worker.

    python -m chorale.cluster.local_workers.fork_server SOCKET PATHS MODULE ...

PyTorch and Lightning take seconds to import; so they are imported once on a machine, while others
are still busy, and their memory is shared. `cluster.local_workers.fork_client` starts it; who
connects to its socket speaks to a process of its own (see `cluster.local_workers.child`). It ends
when its standard input does.
"""

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys


def main(path: str, paths: str, *modules: str) -> None:
    """Listens at once, imports, then forks a child for whoever has connected."""
    sys.path[:] = json.loads(paths)
    # Ctrl-C is for the person's own process; children that end are nobody's business.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)
        from chorale.cluster.local_workers import child

        gc.disable()  # what is imported stays
        for module in modules:
            importlib.import_module(module)
        gc.collect()
        gc.freeze()  # so that no child's collector copies what all share by touching it
        gc.enable()
        while True:
            ready, _, _ = select.select([listener, sys.stdin], [], [])
            if sys.stdin in ready:
                return
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                child.serve(connection)
            connection.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
