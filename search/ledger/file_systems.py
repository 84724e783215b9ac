"""Detects whether a folder is on a local file system.

SQLite's write-ahead log uses shared memory between processes, which network file systems lack.
"""

import re
from pathlib import Path

OCTAL_ESCAPE = re.compile(r"\\([0-7]{3})")
"""How mountinfo escapes a space in a folder's name."""
MOUNTS = Path("/proc/self/mountinfo")
LOCAL_FILE_SYSTEMS = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "tmpfs", "overlay"}
)
"""File systems of a single machine. Others, such as nfs, lustre or fuse, may be shared."""


def is_local(path: Path) -> bool:
    """Whether the nearest existing parent of `path` is known to be on a disk of this machine."""
    try:
        mounts = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return False
    folder = next(p for p in (path, *path.absolute().parents) if p.exists()).resolve()
    kind, depth = "", -1
    for line in mounts:
        fields, _, rest = line.partition(" - ")
        point = Path(OCTAL_ESCAPE.sub(lambda m: chr(int(m[1], 8)), fields.split()[4]))
        # the deepest mount point wins, and of several on one folder the last
        if folder.is_relative_to(point) and len(point.parts) >= depth:
            kind, depth = rest.split()[0], len(point.parts)
    return kind in LOCAL_FILE_SYSTEMS
