"""Which operators run as one kernel; needs no TVM."""
