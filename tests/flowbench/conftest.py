"""The public face trains in this process, as the tests of ``bench`` do."""

from ..bench.conftest import here, one_thread, plugin, usual_products

__all__ = ["here", "one_thread", "plugin", "usual_products"]
