"""The version of the whole project: in ``hello``, ``/info``, ``instance.json`` and the OpenAPI documents."""

VERSION = "0.1.0"
