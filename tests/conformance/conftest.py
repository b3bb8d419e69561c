from __future__ import annotations

import sys
from pathlib import Path

# the cases are read by two test modules
sys.path.insert(0, str(Path(__file__).parent))
