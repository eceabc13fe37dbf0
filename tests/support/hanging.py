"""When a test gives up on a process or a condition that hangs."""

# Generous, as no test is to fail because its machine is busy.
SECONDS = 3600
