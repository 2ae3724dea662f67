"""Words from the shell in, an exit status out: `python -m pipeline …` is the same as `carnac …`."""

import sys


def start() -> int:
    """The command; no traceback either for whoever interrupts it while its modules are loaded, which takes a second."""
    try:
        from pipeline.cli import main
    except KeyboardInterrupt:
        return 130
    return main()


if __name__ == "__main__":
    sys.exit(start())
