"""Whether a folder is on this machine's own disk.

SQLite's write-ahead log is shared memory between processes, which no network file system gives.
"""

import re
from pathlib import Path

OCTAL = re.compile(r"\\([0-7]{3})")
"""How a space in a folder's name is written there."""
MOUNTS = Path("/proc/self/mountinfo")
LOCAL = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "tmpfs", "overlay"})
"""File systems of one machine. What is not here, such as nfs, lustre or fuse, may be shared."""


def is_local(path: Path) -> bool:
    """Whether the nearest existing folder of `path` is surely on a disk of this machine."""
    try:
        mounts = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return False
    folder = next(p for p in (path, *path.absolute().parents) if p.exists()).resolve()
    kind, depth = "", -1
    for line in mounts:
        fields, _, rest = line.partition(" - ")
        point = Path(OCTAL.sub(lambda m: chr(int(m[1], 8)), fields.split()[4]))
        # the deepest wins, and of those on one folder the last
        if folder.is_relative_to(point) and len(point.parts) >= depth:
            kind, depth = rest.split()[0], len(point.parts)
    return kind in LOCAL
