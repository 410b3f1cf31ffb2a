"""`python -m mofe_restore.cli`: the `mofe` command."""

from __future__ import annotations

import sys

from .main import main

sys.exit(main())
