"""The cost model: operations and bytes of a cell, device-hours of a plan, progress of a worker. No torch."""
