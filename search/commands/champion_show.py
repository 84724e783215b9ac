"""`chorale champion show [NAME]`: the current champion, its scores, and since when it is."""

import json
from collections.abc import Sequence

from chorale.search.commands.champion_options import NAME_HELP, parse_champion_options
from chorale.search.commands.study_options import console

HELP = f"""\
usage: chorale champion show [NAME] [--json] [--runs FOLDER]

Shows the current champion and why it was promoted; verifies the hashes of all its files.
{NAME_HELP}

  --json         print JSON
  --runs FOLDER  the folder of all studies (runs)
"""


def run(args: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    given = parse_champion_options(args, command="show", flags=["json"])
    bundle, periods = given.registry.current(), given.registry.history()
    if bundle is None:
        return 1
    manifest, period = bundle.manifest, periods[-1]
    if "json" in given.flags:
        found = {
            "champion": given.name,
            "bundle": bundle.digest,
            "study": manifest.study,
            "since_utc": period.since_utc,
            "number": len(periods),
            "reason": period.reason,
            "ensemble": manifest.kind,
            "architectures": sorted({*manifest.architectures}),
            "headline": manifest.about["headline"],
            "folder": str(bundle.paths.root),
        }
        print(json.dumps(found, indent=2))
        return 0
    lines = (
        ("champion", f"{given.name}, {bundle.digest[:12]}"),
        ("study", manifest.study),
        ("since", f"{period.since_utc} (champion number {len(periods)})"),
        ("why", period.reason),
        ("is", f"{manifest.kind} of {manifest.members_text}, {len(manifest.networks)} networks: "
               f"{', '.join(dict.fromkeys(manifest.architectures))}"),
        ("scored", str(manifest.about["headline"])),
        ("files", f"{bundle.paths.root}: {len(manifest.files)} files with matching hashes"),
        ("try it", f"chorale predict FILE --bundle {bundle.paths.root}"),
    )  # fmt: skip
    out = console()
    for name, text in lines:
        out.print(f"{name:<10}{text}", soft_wrap=True, markup=False)
    return 0
