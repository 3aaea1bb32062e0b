"""`omnikit test-plugin PACKAGE`: check what the components of an installed package do against what they state."""

import sys
from pathlib import Path

from omnikit.commands.arguments import Parser

EXAMPLE = "example: omnikit test-plugin omnikit-mybeats --card CONFORMANCE.md"


def run(argv: list[str]) -> int:
    """Check every component of a package; gives 1 where a check fails."""
    parser = Parser("omnikit test-plugin", description=__doc__, epilog=EXAMPLE)
    parser.add_argument("package", help="name of the installed package, as `omnikit list` prints it")
    parser.add_argument("--card", type=Path, metavar="FILE", help="write what was found as Markdown, too")
    arguments = parser.parse_args(argv)

    from omnikit.progress import progress
    from omnikit.store.files import write_text
    from omnikit.testing.package import check_package, version_of
    from omnikit.testing.report import as_card, as_table, interface_line

    with progress(f"checks of {arguments.package}", stderr=True) as report:
        checked = check_package(arguments.package, report)
    sys.stdout.write(f"{as_table(checked)}\n{interface_line(arguments.package)}\n")
    if arguments.card:
        write_text(arguments.card, as_card(arguments.package, version_of(arguments.package), checked))
        sys.stdout.write(f"\nThe card is {arguments.card}.\n")
    return 1 if any(one.failed for one in checked) else 0
