from .frame import command


@command
def run() -> int:
    "Run."
    return 0
