"""Starting a sidecar's processes and ending all of them, whatever died first.

``base`` names the interface; ``platform_launcher`` chooses the module of this
platform. What happens is told in values; nothing here decides.
"""
