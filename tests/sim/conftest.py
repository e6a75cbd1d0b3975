import vmail_sim  # noqa: F401 - it chooses the GL backend, which must happen before a test imports dm_control
