"""``python -m flowbench NAME ...``: as :mod:`flowbench.console`."""

import sys

from flowbench.console import main

if __name__ == "__main__":
    sys.exit(main())
