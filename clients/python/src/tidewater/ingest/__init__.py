"""How do rows come in, each once? `Producer` and `AsyncProducer`, and what they leave behind.

`tidewater.ingest.v1` beside this has the gRPC service itself, under the name by which everybody generates it from the .proto file.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .options import BatchResult as BatchResult
    from .options import CommitToken as CommitToken
    from .options import ProducerOptions as ProducerOptions
    from .options import Statistics as Statistics
    from .producer import AsyncProducer as AsyncProducer
    from .producer import Producer as Producer
    from .replaying import ReplayResult as ReplayResult
    from .replaying import replay as replay

# When it is first used: who only wants the stubs loads nothing else.
_MODULES = {
    ".options": "BatchResult CommitToken ProducerOptions Statistics",
    ".producer": "AsyncProducer Producer",
    ".replaying": "ReplayResult replay",
}
_WHERE = {name: module for module, names in _MODULES.items() for name in names.split()}

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name], __name__), name)
