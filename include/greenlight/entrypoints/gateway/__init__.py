"""The gateway as a service: one module a part, put together in `worker`."""
