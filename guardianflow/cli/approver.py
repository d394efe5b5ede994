"""The commands that enrol people for one-time codes, on the machine of a release worker."""

from typing import Annotated

import typer

from guardianflow.cli.output import JsonFlag, print_result, remark, stdout

NameArgument = Annotated[str, typer.Argument(help="The name that the person answers with.")]


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode="rich",
        help="Enrol people for one-time codes (on a release worker).\n\n"
        "The secrets lie in the file that GUARDIANFLOW_APPROVERS names, mode 0600.",
    )
    for name, command in (("add", add), ("list", list_), ("remove", remove)):
        group.command(name)(command)
    app.add_typer(group, name="approver", rich_help_panel="Machine")


def add(name: NameArgument, as_json: JsonFlag = False) -> None:
    """Give a person a secret and show it once, as a QR code for the app and as an address.

    [bold]Example[/]

    GUARDIANFLOW_APPROVERS=/etc/guardianflow/approvers.json guardianflow approver add "Kim Minji"
    """
    from guardianflow.promotion.approval.one_time_codes import approvers_file, enrol

    path = approvers_file()
    made = enrol(path, name)
    if not as_json:
        import segno

        segno.make(made.uri, error="l").terminal(compact=True)
        stdout.print(made.uri, soft_wrap=True, markup=False)
        remark(f"{made.name} is enrolled in {path}; the code is shown this once.")
        remark("Every release worker needs the same file.")
    print_result({"name": made.name, "uri": made.uri, "file": str(path)}, as_json=as_json)


def list_(as_json: JsonFlag = False) -> None:
    """List who is enrolled; never with a secret."""
    from guardianflow.promotion.approval.one_time_codes import approvers_file, read_approvers

    path = approvers_file()
    names = sorted(read_approvers(path))
    if not as_json:
        stdout.print("\n".join(names) or f"nobody is enrolled in {path}", markup=False)
    print_result({"approvers": names, "file": str(path)}, as_json=as_json)


def remove(name: NameArgument, as_json: JsonFlag = False) -> None:
    """Take a person's secret away: their codes end at once, on this worker.

    [bold]Example[/]

    guardianflow approver remove "Kim Minji"
    """
    from guardianflow.promotion.approval.one_time_codes import approvers_file, dismiss

    path = approvers_file()
    gone = dismiss(path, name)
    if not as_json:
        stdout.print(f"{gone} is not enrolled any more", markup=False)
        remark("Take them out of the file of every release worker.")
    print_result({"name": gone, "file": str(path)}, as_json=as_json)
