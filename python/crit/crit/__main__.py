"""Entry point; the tool itself is in pycriu's native module."""

import signal
import sys

from pycriu import _native


def main(argv=None):
    """Runs ``crit`` with these arguments (those of the command line) and ends with its exit status."""
    # A long conversion ends at once when it is interrupted; an unfinished file never gets its name.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.stdout.flush()
    sys.exit(_native.crit(sys.argv[1:] if argv is None else list(argv)))


if __name__ == "__main__":
    main()
