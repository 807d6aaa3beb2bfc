"""Text models: what they are asked, what they answer, how right that is. Importing it imports no model library."""

from __future__ import annotations

import logging

# What transformers imports (torchao) makes PyTorch warn of its own calls, at each start, on every user's screen.
logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)
