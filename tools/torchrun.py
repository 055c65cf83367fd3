"""torchrun without its traceback: python tools/torchrun.py [arguments of torchrun]. Used by the dist_ scripts.

A process that fails says why in one line of its own; torchrun would put forty lines about itself below it.
"""

from __future__ import annotations

import logging
import signal
import sys


def main() -> None:
    from torch.distributed import DistNetworkError, run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    logging.getLogger('torch.distributed.elastic').setLevel(logging.CRITICAL)
    args = run.parse_args(None)
    try:
        run.run(args)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        code = failure.exitcode
        how = f'was killed by {signal.Signals(-code).name}' if code < 0 else f'ended with exit status {code}'
        sys.exit(f'error: rank {rank} {how}, so all processes were stopped. Its own message is above.')
    except SignalException as error:
        print(f'stopped by {signal.Signals(error.sigval).name}', file=sys.stderr)
        sys.exit(128 + error.sigval)
    except DistNetworkError as error:
        sys.exit(f'error: {args.master_addr}:{args.master_port} cannot be used ({str(error).splitlines()[0]}). Set PORT to a free port.')


if __name__ == '__main__':
    main()
