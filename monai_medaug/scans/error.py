"""The error of all readers."""


class ScanError(ValueError):
    """Error for an unusable scan; its one-line message omits paths, which may contain a patient's name."""
