"""The `smartrelay` command."""

import sys


def main() -> None:
    """Runs the command and exits with its code; no traceback ever reaches a user."""
    from smartrelay.cli.main import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
