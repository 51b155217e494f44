"""Long-lived processes that fetch, run and settle: supervisor, agent, children. Entrance: ``worker.main``."""
