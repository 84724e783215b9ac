"""Champion registry: one small file, replaced atomically, names the champion and its predecessors.

A bundle is copied in under the hash of its content before the file names it. Whatever process dies
in between, the champion always resolves to a bundle whose hashes match.
"""

import json
import shutil
import tempfile
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from chorale.datasets.atomic import atomic_write, rename_synced, write_json
from chorale.datasets.config import config, read_config
from chorale.datasets.errors import UserError
from chorale.datasets.lock_file import exclusive_lock
from chorale.search.bundle.bundle import Bundle
from chorale.search.paths import ChampionPaths


@config
class ChampionPeriod:
    """One bundle's period as champion: since when (UTC, ISO 8601), why, and of which study."""

    digest: str
    study: str
    since_utc: str
    reason: str


@config
class _Pointer:
    """The content of `champion.json`: the last period is the present one."""

    reigns: tuple[ChampionPeriod, ...]


@dataclass(frozen=True)
class Registry:
    """The bundles that are or were champion under one name."""

    paths: ChampionPaths

    def history(self) -> tuple[ChampionPeriod, ...]:
        """All periods, the present one last; empty where there never was a champion.

        Raises:
            UserError: `champion.json` is damaged.
        """
        try:
            content = json.loads(self.paths.pointer.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return ()
        except (OSError, ValueError) as error:
            raise UserError(
                f"the champion cannot be read from '{self.paths.pointer}' ({error}); restore that "
                f"file, or promote a study again: chorale champion promote STUDY"
            ) from None
        return read_config(_Pointer, content, where=str(self.paths.pointer)).reigns

    def current(self) -> Bundle | None:
        """The champion's bundle, its hashes checked; None where there is none.

        Raises:
            UserError: it is damaged.
        """
        periods = self.history()
        return Bundle.open(self.paths.bundle(periods[-1].digest).root) if periods else None

    def promote(self, bundle: Bundle, *, expected: str | None, reason: str) -> ChampionPeriod:
        """Makes a bundle the champion, if the present champion is the expected one.

        Args:
            bundle: it is copied into the registry; one that is there already is used as it is.
            expected: the digest of the present champion, None where there should be none.
            reason: a sentence.

        Raises:
            UserError: another bundle has become champion in between.
        """
        self._copy_in(bundle)
        with self._locked():
            periods = self.history()
            now = periods[-1].digest if periods else None
            if now != expected:
                raise UserError(
                    f"the champion is {_short(now)} by now, and not {_short(expected)} as when "
                    f"this was decided; look again: chorale champion show"
                )
            period = ChampionPeriod(
                bundle.digest,
                bundle.manifest.study,
                datetime.now(UTC).isoformat(timespec="seconds"),
                reason,
            )
            self._write((*periods, period))
        return period

    def rollback(self, reason: str) -> ChampionPeriod:
        """Makes the most recent other bundle the champion again.

        Raises:
            UserError: there was none before, or it is damaged or was removed.
        """
        periods = self.history()
        others = [one for one in periods if one.digest != periods[-1].digest]
        if not others:
            raise UserError(
                f"there is no champion before the present one in '{self.paths.root}'; promote "
                f"another: chorale champion promote STUDY"
            )
        bundle = Bundle.open(self.paths.bundle(others[-1].digest).root)
        return self.promote(bundle, expected=periods[-1].digest, reason=reason)

    def _copy_in(self, bundle: Bundle) -> None:
        """Copies the bundle into the registry, atomically."""
        final = self.paths.bundle(bundle.digest).root
        if final.is_dir():
            return
        final.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name[:12]}."))
        try:
            for path in sorted(bundle.paths.root.rglob("*")):
                if path.is_file():
                    with atomic_write(scratch / path.relative_to(bundle.paths.root)) as temporary:
                        shutil.copyfile(path, temporary)
            scratch.chmod(0o755)
            if not final.is_dir():  # else another process was faster with the same bundle
                rename_synced(scratch, final)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _write(self, periods: tuple[ChampionPeriod, ...]) -> None:
        write_json(self.paths.pointer, {"reigns": [asdict(one) for one in periods]})

    def _locked(self) -> AbstractContextManager[None]:
        """One process at a time; the system releases the lock of a process that dies."""
        return exclusive_lock(self.paths.lock, wait=True)


def _short(digest: str | None) -> str:
    return "none" if digest is None else digest[:12]
