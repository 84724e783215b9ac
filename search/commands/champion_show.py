"""`chorale champion show [NAME]`: the current champion, its scores, and since when it is."""

import json

from chorale.search.commands.champion_options import ChampionOptions, champion_options
from chorale.search.commands.command import command
from chorale.search.commands.console import console
from chorale.search.commands.parameters import json_option


@command(examples=["chorale champion show", "chorale champion show music --json"])
@json_option
@champion_options
def run(given: ChampionOptions, as_json: bool) -> int:
    """Shows the current champion and why it was promoted; verifies the hashes of all its files."""
    bundle, periods = given.registry.current(), given.registry.history()
    if bundle is None:
        return 1
    manifest, period = bundle.manifest, periods[-1]
    if as_json:
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
