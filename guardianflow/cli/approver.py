"""The commands that enrol people for one-time codes, on the machine of a release worker."""

from typing import Annotated

import typer

from guardianflow.cli.output import OutputOption

commands = typer.Typer(
    no_args_is_help=True,
    help="Enrol people for one-time codes (on a release worker).\n\n"
    "The secrets are kept in the file that GUARDIANFLOW_APPROVERS names (mode 0600).",
)
PersonArgument = Annotated[str, typer.Argument(help="Name that the person approves with.")]


@commands.command()
def add(name: PersonArgument, *, out: OutputOption) -> None:
    """Enrol a person, and show their secret once: as a QR code and as an otpauth address.

    [bold]Example[/]

    GUARDIANFLOW_APPROVERS=/etc/guardianflow/approvers.json guardianflow approver add "Kim Minji"
    """
    from guardianflow.promotion.approval.one_time_codes import approvers_file, enrol

    path = approvers_file()
    made = enrol(path, name)
    if not out.as_json:
        import segno

        segno.make(made.uri, error="l").terminal(compact=True)
    out.say(made.uri)
    out.remark(f"{made.name} is enrolled in {path}; the code is shown only now.")
    out.remark("Every release worker needs the same file.")
    out.result({"name": made.name, "uri": made.uri, "file": str(path)})


@commands.command("list")
def list_(*, out: OutputOption) -> None:
    """List who is enrolled; no secret is shown.

    [bold]Example[/]

    guardianflow approver list
    """
    from guardianflow.promotion.approval.one_time_codes import approvers_file, read_approvers

    path = approvers_file()
    names = sorted(read_approvers(path))
    out.say("\n".join(names) or f"nobody is enrolled in {path}")
    out.result({"approvers": names, "file": str(path)})


@commands.command()
def remove(name: PersonArgument, *, out: OutputOption) -> None:
    """Remove a person: their codes stop working on this worker at once.

    [bold]Example[/]

    guardianflow approver remove "Kim Minji"
    """
    from guardianflow.promotion.approval.one_time_codes import approvers_file, dismiss

    path = approvers_file()
    gone = dismiss(path, name)
    out.say(f"{gone} is no longer enrolled")
    out.remark("Remove them on every other release worker, too.")
    out.result({"name": gone, "file": str(path)})
