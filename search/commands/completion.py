"""`chorale completion SHELL`: the script that completes commands in a shell."""

import click
from click.shell_completion import get_completion_class

from chorale.search.commands.command import COMPLETE_VARIABLE, command
from chorale.search.commands.parameters import Choice

SHELLS = ("bash", "zsh", "fish")


@command(
    examples=[
        'eval "$(chorale completion bash)"',
        "chorale completion zsh > ~/.zfunc/_chorale",
        "chorale completion fish > ~/.config/fish/completions/chorale.fish",
    ]
)
@click.argument("shell", type=Choice(SHELLS))
def run(shell: str) -> int:
    """Prints the script that completes commands, options and names in SHELL.

    It completes the names of studies, datasets, shipped sweeps, architectures, and files. For bash
    add the first example to ~/.bashrc.
    """
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"click cannot complete in {shell}")
    root = click.get_current_context().find_root().command
    click.echo(found(root, {}, "chorale", COMPLETE_VARIABLE).source())
    return 0
