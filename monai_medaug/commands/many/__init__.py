"""A command on many scans: in this process, in a pool of processes, or on Ray."""

from monai_medaug.commands.many.arguments import MANY, add_many_arguments, many_cases
from monai_medaug.commands.many.record import earlier_settings
from monai_medaug.commands.many.run import run_many

__all__ = ["MANY", "add_many_arguments", "earlier_settings", "many_cases", "run_many"]
