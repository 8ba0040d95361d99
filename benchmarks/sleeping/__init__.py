"""Where each tier of memory stands: shards and router, mixes, merged shards, and cores of every kind."""
