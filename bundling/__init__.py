"""What makes the bundle: entry points, hooks, and the lists that ``bundle.spec`` puts together."""
