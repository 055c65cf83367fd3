"""The command that goes on after a stop, as the log prints it."""

import pytest

from selfsup.engine.safe_points import how_to_go_on


@pytest.mark.parametrize(
    ('argv', 'env', 'command'),
    [
        (['tools/train.py', 'a.py', '--start_over'], {}, 'python tools/train.py a.py --auto_resume'),
        (
            ['tools/train.py'],
            {'SELFSUP_COMMAND': 'bash tools/dist_train.sh a.py 2 --resume_from b.pth --seed 1'},
            'bash tools/dist_train.sh a.py 2 --seed 1 --auto_resume',
        ),
        (['tools/train.py', 'a.py', '--resume_from=b.pth'], {}, 'python tools/train.py a.py --auto_resume'),
        (['tools/train.py', 'a.py', '--start'], {}, 'python tools/train.py a.py --auto_resume'),
        (['tools/train.py', 'a.py', '--resume', 'b.pth'], {}, 'python tools/train.py a.py --auto_resume'),
        (
            ['tools/train.py'],
            {'SELFSUP_COMMAND': r"GRES='' SRUN_ARGS=-w\ n1 bash tools/srun_train.sh p a.py 2"},
            "GRES='' SRUN_ARGS='-w n1' bash tools/srun_train.sh p a.py 2 --auto_resume",
        ),
        (['/usr/bin/ipython'], {}, 'train again with auto_resume=True, which finds iter_3.pth'),
    ],
)
def test_the_command_that_goes_on(tmp_path, argv, env, command):
    assert how_to_go_on(tmp_path / 'iter_3.pth', str(tmp_path), argv, env) == command
