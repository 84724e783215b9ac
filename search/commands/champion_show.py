"""`chorale champion show [NAME]`: who is champion, how good it is, and since when."""

from collections.abc import Sequence

from chorale.search.commands.champion_words import ABOUT, champion_words
from chorale.search.commands.study_words import console

HELP = f"""\
usage: chorale champion show [NAME] [--runs FOLDER]

Says who is champion and why; all its files are checked against their hashes. {ABOUT}
"""


def run(words: Sequence[str]) -> int:
    """Runs the command; gives its exit code."""
    if any(word in ("-h", "--help") for word in words):
        print(HELP)
        return 0
    given = champion_words(words, command="show")
    bundle, reigns = given.shelf.current(), given.shelf.history()
    if bundle is None:
        return 1
    manifest, reign = bundle.manifest, reigns[-1]
    lines = (
        ("champion", f"{given.name}, {bundle.digest[:12]}"),
        ("study", manifest.study),
        ("since", f"{reign.since_utc} ({len(reigns)} reigns until now)"),
        ("why", reign.reason),
        ("is", f"{manifest.kind} of {manifest.said}, {len(manifest.networks)} networks: "
               f"{', '.join(dict.fromkeys(manifest.architectures))}"),
        ("scored", str(manifest.about["headline"])),
        ("files", f"{bundle.paths.root}: {len(manifest.files)}, and all their hashes fit"),
        ("try it", f"chorale predict FILE --bundle {bundle.paths.root}"),
    )  # fmt: skip
    out = console()
    for name, said in lines:
        out.print(f"{name:<10}{said}", soft_wrap=True, markup=False)
    return 0
