"""The public port: guard, health, proxy and control API. ``app.build`` makes it, ``server.listen`` serves it."""
