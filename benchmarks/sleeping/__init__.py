"""Where each tier of memory stands: shards and router, merged shards, and cores of every kind."""
