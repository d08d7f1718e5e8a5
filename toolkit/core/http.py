"""HTTP, whoever answers: why a request failed."""


def reason(error: Exception) -> str:
    """The innermost cause of a failed request, without its address, which may be signed."""
    while error.args and isinstance(error.args[0], Exception):
        error = error.args[0]
    cause = getattr(error, "reason", None) or error
    text = str(cause.args[-1] if isinstance(cause, OSError) and cause.args else cause)
    return text.split("): ")[-1].rstrip(".)")
