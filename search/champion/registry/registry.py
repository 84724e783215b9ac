"""Which bundle is the champion: one small file, changed whole, with all that was before in it.

A bundle is copied in under its content's hash before the file names it, so that whatever dies in
between, the champion resolves to a bundle whose hashes fit.
"""

import fcntl
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from chorale.datasets.atomic import atomic, rename_synced, write_json
from chorale.datasets.config import config, read
from chorale.datasets.errors import UserError
from chorale.search.bundle.bundle import Bundle
from chorale.search.paths import ChampionPaths


@config
class Reign:
    """One bundle's time as champion: since when (UTC, ISO 8601), why, and of which study."""

    digest: str
    study: str
    since_utc: str
    reason: str


@config
class _Pointer:
    """What `champion.json` holds: the last is in use."""

    reigns: tuple[Reign, ...]


@dataclass(frozen=True)
class Shelf:
    """The bundles that are or were champion under one name."""

    paths: ChampionPaths

    def history(self) -> tuple[Reign, ...]:
        """All reigns, the present one last; none where there never was a champion.

        Raises:
            UserError: the file that says so is damaged.
        """
        try:
            content = json.loads(self.paths.pointer.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return ()
        except (OSError, ValueError) as error:
            raise UserError(
                f"who is champion cannot be read from '{self.paths.pointer}' ({error}); restore "
                f"that file, or promote one again: chorale champion promote STUDY"
            ) from None
        return read(_Pointer, content, where=str(self.paths.pointer)).reigns

    def current(self) -> Bundle | None:
        """The champion, its hashes checked; None where there is none.

        Raises:
            UserError: it is damaged.
        """
        reigns = self.history()
        return Bundle.open(self.paths.bundle(reigns[-1].digest).root) if reigns else None

    def promote(self, bundle: Bundle, *, expected: str | None, reason: str) -> Reign:
        """Makes a bundle the champion, if the champion still is who it is expected to be.

        Args:
            bundle: it is copied; one that is here already is used as it is.
            expected: the digest of who is champion now, None where nobody should be.
            reason: a sentence.

        Raises:
            UserError: somebody else has become champion in between.
        """
        self._take_in(bundle)
        with self._locked():
            reigns = self.history()
            now = reigns[-1].digest if reigns else None
            if now != expected:
                raise UserError(
                    f"the champion is {_short(now)} by now, and not {_short(expected)} as when "
                    f"this was decided; look again: chorale champion show"
                )
            reign = Reign(
                bundle.digest,
                bundle.manifest.study,
                datetime.now(UTC).isoformat(timespec="seconds"),
                reason,
            )
            self._write((*reigns, reign))
        return reign

    def rollback(self, reason: str) -> Reign:
        """Makes the last other bundle the champion again.

        Raises:
            UserError: there was none before, or it is damaged or gone.
        """
        reigns = self.history()
        others = [one for one in reigns if one.digest != reigns[-1].digest]
        if not others:
            raise UserError(
                f"there is no champion before the present one in '{self.paths.root}'; promote "
                f"another: chorale champion promote STUDY"
            )
        bundle = Bundle.open(self.paths.bundle(others[-1].digest).root)
        return self.promote(bundle, expected=reigns[-1].digest, reason=reason)

    def _take_in(self, bundle: Bundle) -> None:
        """Copies the bundle in, whole or not at all."""
        final = self.paths.bundle(bundle.digest).root
        if final.is_dir():
            return
        final.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name[:12]}."))
        try:
            for path in sorted(bundle.paths.root.rglob("*")):
                if path.is_file():
                    with atomic(scratch / path.relative_to(bundle.paths.root)) as temporary:
                        shutil.copyfile(path, temporary)
            scratch.chmod(0o755)
            if not final.is_dir():  # else another process was faster with the same bundle
                rename_synced(scratch, final)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _write(self, reigns: tuple[Reign, ...]) -> None:
        write_json(self.paths.pointer, {"reigns": [asdict(one) for one in reigns]})

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time; the system lets go of the lock of one that dies."""
        self.paths.root.mkdir(parents=True, exist_ok=True)
        with self.paths.lock.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _short(digest: str | None) -> str:
    return "none" if digest is None else digest[:12]
