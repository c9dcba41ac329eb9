from .advice import advise
from .audit import Prepared, prepare
from .effects import estimate_effect, probe
from .errors import LogError
from .gains import find_gains
from .graphs import find_graph, identify_effect, read_graph, take_graph, write_graph
from .guess import guess_roles
from .reading import Log, read_log
from .roles import Roles
from .rules import Rule, choose_rule
from .run import Settings, Study, open_log, study
from .step import Step

__all__ = [
    "Log",
    "LogError",
    "Prepared",
    "Roles",
    "Rule",
    "Settings",
    "Step",
    "Study",
    "advise",
    "choose_rule",
    "estimate_effect",
    "find_gains",
    "find_graph",
    "guess_roles",
    "identify_effect",
    "open_log",
    "prepare",
    "probe",
    "read_graph",
    "read_log",
    "study",
    "take_graph",
    "write_graph",
]
