"""A command line as a shell would split it: who starts how many processes of which program with which words."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field

from ..errors import UsageError, did_you_mean

PYTHON = re.compile(r'python[\d.]*$')
LAUNCHERS = ('torch.distributed.launch', 'torch.distributed.run')
LAUNCHER_FLAGS = ('nproc_per_node', 'nnodes', 'node_rank', 'master_addr', 'master_address', 'master_port')
LAUNCHER_SWITCHES = ('use_env', 'standalone')


@dataclass
class Call:
    """One start of a program.

    Attributes:
        program: the script, as given.
        words: what follows it.
        launched: whether a launcher stands before it.
        processes: on each machine.
        nodes: machines.
        node_rank, master_addr, master_port: which machine this is and where the first one listens; as given.
        environment: assignments before the command, such as `PORT=29501`.
    """

    program: str
    words: list[str]
    launched: bool = False
    processes: int = 1
    nodes: int = 1
    node_rank: str | None = None
    master_addr: str | None = None
    master_port: str | None = None
    environment: list[str] = field(default_factory=list)


def whole(flag: str, text: str) -> int:
    """A number of 1 or more.

    Raises:
        UsageError: `text` is none.
    """
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f'{flag} {text}: give a whole number of 1 or more.')
    return int(text)


def split(command: str) -> Call:
    """Read a command line; line continuations, quotes, `--flag=value` and a leading `$` are understood.

    Raises:
        UsageError: quotes that do not close, no program, or a launcher's flag that is not known.
    """
    try:
        words = shlex.split(re.sub(r'\\\s*\n', ' ', command))
    except ValueError as error:
        raise UsageError(f'The command cannot be split into words ({error}): {command}') from None
    words = words[1:] if words[:1] == ['$'] else words
    environment = []
    while words and re.match(r'[A-Za-z_]\w*=', words[0]):
        variable, _, value = words.pop(0).partition('=')
        environment.append(f'{variable}={shlex.quote(value)}')
    launched = bool(words) and words[0] == 'torchrun'
    if launched or (words and (words[0] in ('bash', 'sh') or PYTHON.match(words[0].rsplit('/', 1)[-1]))):
        words = words[1:]
    if words[:1] == ['-m']:
        if words[1:2] == [] or words[1] not in LAUNCHERS:
            raise UsageError(f'-m {" ".join(words[1:2])} is no launcher.{did_you_mean("".join(words[1:2]), LAUNCHERS)}')
        launched, words = True, words[2:]
    values: dict[str, str] = {}
    while launched and words and words[0].startswith('-'):
        name, _, value = words.pop(0).lstrip('-').partition('=')
        name = name.replace('-', '_')
        if name in LAUNCHER_SWITCHES:
            continue
        if name not in LAUNCHER_FLAGS:
            raise UsageError(
                f'--{name} is no flag of the launcher.{did_you_mean(name, (*LAUNCHER_FLAGS, *LAUNCHER_SWITCHES))}'
            )
        if not value and not words:
            raise UsageError(f'--{name} needs a value.')
        values[name] = value or words.pop(0)
    if not words or not words[0].endswith(('.py', '.sh')):
        raise UsageError(f'No program (*.py or *.sh) stands in the command: {command.strip() or "it is empty"}')
    return Call(
        words[0],
        words[1:],
        launched,
        whole('--nproc_per_node', values.get('nproc_per_node', '1')),
        whole('--nnodes', values.get('nnodes', '1')),
        values.get('node_rank'),
        values.get('master_addr', values.get('master_address')),
        values.get('master_port'),
        environment,
    )
