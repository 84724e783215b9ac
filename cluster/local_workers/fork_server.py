"""Fork server: a process that has imported what trials need, and forks a child for each worker.

    python -m chorale.cluster.local_workers.fork_server SOCKET PATHS MODULE ...

PyTorch and Lightning take seconds to import, so they are imported once per machine, while the
driver does other things, and their memory is shared. `cluster.local_workers.fork_client` starts it.
Each connection to its socket is served by a forked child (`cluster.local_workers.child`). It ends
when its standard input is closed.
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
    """Listens, imports the modules, then forks a child for each connection."""
    sys.path[:] = json.loads(paths)
    # Only the driver handles Ctrl-C; nobody waits for children that have ended.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)
        from chorale.cluster.local_workers import child

        gc.disable()  # imported objects stay alive anyway
        for module in modules:
            importlib.import_module(module)
        gc.collect()
        gc.freeze()  # else a child's collector would write to shared pages and so copy them
        gc.enable()
        while True:
            ready, _, _ = select.select([listener, sys.stdin], [], [])
            if sys.stdin in ready:
                return
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                child.run_child(connection)
            connection.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
