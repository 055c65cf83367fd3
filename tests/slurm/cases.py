"""Trainings under a real Slurm: started, stopped, requeued; each must be the uninterrupted one, bit by bit. A case is a function."""

from __future__ import annotations

import re
import threading
import time

from tests.shipped_configs import small

from .runs import PAUSE, ROOT, check_equal, losses
from .stage import Stage

GUIDE = re.compile(r'^python tools/submit\.py (configs/\S+) (.*)$', re.MULTILINE)  # in docs/cluster.md


def one_node_two_tasks(stage: Stage) -> None:
    stage.done('tools/srun_train.sh', 'main', stage.config, 2, '--work_dir', stage.folder / 'run')
    check_equal(stage.folder / 'run', stage.straight)


def two_nodes_one_task(stage: Stage) -> None:
    """And what Slurm was asked for: GPUS_PER_NODE, CPUS_PER_TASK, SRUN_ARGS, GRES; --port."""
    port = ('--port', '23456')
    settings = {'GPUS_PER_NODE': '1', 'CPUS_PER_TASK': '3', 'SRUN_ARGS': '--comment=asked -t 7', 'GRES': 'gpu:2'}
    stage.done('tools/srun_train.sh', 'main', stage.config, 2, '--work_dir', stage.folder / 'run', *port, **settings)
    check_equal(stage.folder / 'run', stage.straight)
    (asked,) = stage.cluster.jobs()
    assert (asked['NumNodes'], asked['NumTasks'], asked['CPUs/Task']) == ('2', '2', '3')
    assert (asked['Comment'], asked['TimeLimit'], asked['TresPerNode']) == ('asked', '00:07:00', 'gres:gpu:2')


def two_jobs_on_one_node(stage: Stage) -> None:
    """At the same time, each with a port of its own; without GPUs."""
    ended = []

    def train(name: str) -> None:
        options = ('--work_dir', stage.folder / name, '--cfg-options', f'{PAUSE}=0.3')
        ended.append(
            stage.start('tools/srun_train.sh', 'main', stage.config, 2, *options, GRES='', SRUN_ARGS='--nodelist=n1')
        )

    threads = [threading.Thread(target=train, args=(name,)) for name in ('one', 'two')]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [done.returncode for done in ended] == [0, 0], [done.stderr for done in ended]
    for name in ('one', 'two'):
        check_equal(stage.folder / name, stage.straight)
    one, two = stage.cluster.jobs()
    assert (
        one['NodeList'] == two['NodeList'] == 'n1'
        and one['StartTime'] < two['EndTime']
        and two['StartTime'] < one['EndTime']
    )


def a_signal_and_a_requeue(stage: Stage) -> None:
    """USR1, USR2 and TERM one after the other, as a preemption may send them, to loader workers too."""
    job = stage.batch('data.workers_per_gpu=1')
    for name in ('USR1', 'USR2', 'TERM'):
        stage.cluster.run('scancel', f'--signal={name}', job)
    stage.ended(job, restarts=1)
    check_equal(stage.folder / 'run', stage.straight)
    assert f'job {job} is requeued' in stage.logs()


def a_signal_before_the_end_of_the_time(stage: Stage) -> None:
    """Slurm sends the signal by itself, here 75 seconds before the end or a little earlier."""
    job = stage.batch(pause=4.0, SBATCH_ARGS='--time=2 --signal=USR1@75')
    stage.ended(job, restarts=1, or_more=True)
    check_equal(stage.folder / 'run', stage.straight)
    assert 'Stopped by SIGUSR1' in stage.logs()


def the_end_of_the_time_without_a_signal(stage: Stage) -> None:
    """Training knows when the time of its job is over, and saves before."""
    job = stage.batch(pause=7.0, SBATCH_ARGS='--time=2 --signal=CONT@1')
    stage.ended(job, restarts=1, or_more=True)
    check_equal(stage.folder / 'run', stage.straight)
    assert "Stopped by the end of the Slurm job's time" in stage.logs() and 'TIME LIMIT' not in stage.logs()


def srun_ends_with_the_status_of_a_stopped_run(stage: Stage) -> None:
    """And goes on with --auto_resume, and --resume_from."""
    words = ('tools/srun_train.sh', 'main', stage.config, 2, '--work_dir', stage.folder / 'run', '--auto_resume')
    ended = []
    slow = ('--cfg-options', f'{PAUSE}=1.5')
    thread = threading.Thread(target=lambda: ended.append(stage.start(*words, *slow)))
    thread.start()
    stage.wait_for_iteration(3)
    (job,) = stage.cluster.jobs()
    stage.cluster.run('scancel', '--signal=USR1', job['JobId'])
    thread.join()
    assert ended[0].returncode == 75, ended[0].stderr
    stage.done(*words)
    check_equal(stage.folder / 'run', stage.straight)


def preemption_by_a_higher_partition(stage: Stage) -> None:
    """Slurm gives notice, takes the nodes, gives them back: the job goes on by itself."""
    job = stage.batch()
    higher = stage.cluster.run(
        'sbatch', '--parsable', '-p', 'high', '-N2', '-n128', '-t', '5', '--wrap', 'sleep 2', cwd=stage.folder
    )
    stage.ended(higher.stdout.strip(), restarts=0)
    done = stage.ended(job, restarts=1)
    assert done['StartTime'] >= stage.cluster.job(higher.stdout.strip())['EndTime']
    check_equal(stage.folder / 'run', stage.straight)


def a_cancelled_job_saves_and_stays_away(stage: Stage) -> None:
    job = stage.batch()
    stage.cluster.run('scancel', job)
    stage.ended(job, restarts=0, state='CANCELLED')
    time.sleep(3)
    assert stage.cluster.job(job)['JobState'] == 'CANCELLED'
    done = len(losses(stage.folder / 'run'))
    stage.done('tools/srun_train.sh', 'main', stage.config, 2, '--work_dir', stage.folder / 'run', '--auto_resume')
    check_equal(stage.folder / 'run', stage.straight)
    assert 3 <= done < len(losses(stage.folder / 'run'))


def submitted_and_requeued(stage: Stage) -> None:
    """tools/submit.py on two nodes; submitit's signal; a work dir that is named after the job."""
    options = (
        '--cpu',
        '--nodes',
        2,
        '--ngpus',
        1,
        '--cpus',
        2,
        '--timeout',
        30,
        '--comment',
        'a try',
        '--partition',
        'main',
    )
    sent = stage.done(
        'tools/submit.py', stage.config, *options, '--job_dir', stage.folder / '%j', '--cfg-options', f'{PAUSE}=1.5'
    )
    job = sent.stdout.split(':')[0].split()[-1]
    run = stage.folder / job
    stage.wait_for_iteration(3, run)
    stage.cluster.run('scancel', '--signal=USR2', job)
    known = stage.ended(job, restarts=1)
    assert (known['NumNodes'], known['Comment'], known['CPUs/Task'], known['TimeLimit']) == ('2', 'a', '2', '00:30:00')
    check_equal(run, stage.straight)
    assert 'Requeued job' in stage.logs() and f'tail -F {run}/{job}_0_log.out' in sent.stdout


def submitted_and_failing(stage: Stage) -> None:
    """An error of training is the job's, with its last lines; the job is not requeued."""
    options = ('--ngpus', 2, '--cpus', 1, '--job_dir', stage.folder / 'run', '--cfg-options')
    wrong = f'data.train.data_source.list_file={stage.folder}/none.txt'
    sent = stage.done('tools/submit.py', stage.config, *options, wrong)
    job = sent.stdout.split(':')[0].split()[-1]
    stage.ended(job, restarts=0, state='FAILED')
    assert 'TrainingError: Training ended with exit status 1' in stage.logs() and 'none.txt' in stage.logs()
    refused = stage.start('tools/submit.py', stage.config, *options, 'optimizr.lr=1')
    assert refused.returncode == 1 and 'optimizr' in refused.stderr and len(stage.cluster.jobs()) == 1
    refused = stage.start('tools/submit.py', stage.config, *options[:-1], '--partition', 'nowhere')
    assert refused.returncode == 1 and refused.stderr.startswith('error: Slurm refuses the job'), refused.stderr
    assert 'invalid partition' in refused.stderr and len(refused.stderr.splitlines()) == 1


def the_commands_of_the_guide(stage: Stage) -> None:
    """Pretraining and fine-tuning of docs/cluster.md as they stand there, but for the number of tasks, a small network and 40 images."""
    found = dict(GUIDE.findall((ROOT / 'docs' / 'cluster.md').read_text()))
    weights = stage.folder / 'pretrained.pth'
    for config, folder in (
        ('configs/selfsup/fcmae/base.py', 'pretraining'),
        ('configs/benchmarks/finetuning/imagenet/convnextv2_base.py', 'fine-tuning'),
    ):
        words = found[config].replace('/path/to/save_results', str(stage.folder / folder)).split()
        words = [str(weights) if word == 'WEIGHTS' else word for word in words]
        words = ['main' if word == 'PARTITION' else word for word in words]
        assert words[words.index('--nodes') + 1] in ('4', '8') and words[words.index('--ngpus') + 1] == '8'
        words[words.index('--nodes') + 1], words[words.index('--ngpus') + 1] = '2', '1'
        given = [word for word in words if not word.startswith('optimizer_config.update_interval')]
        options = [*small.options(ROOT / config, stage.images), 'checkpoint_config.interval=1']
        if '--cfg-options' not in given:
            given.append('--cfg-options')
        sent = stage.done('tools/submit.py', ROOT / config, *given, *options)
        stage.ended(sent.stdout.split(':')[0].split()[-1], restarts=0)
        (latest,) = (stage.folder / folder).glob('latest.pth')
        if folder == 'pretraining':
            weights.symlink_to(latest)


def a_batch_script_without_srun(stage: Stage) -> None:
    """One line, instead of a process that waits for others."""
    command = f'{ROOT}/tools/train.py {stage.config} --launcher slurm --work_dir {stage.folder}/run'
    sent = stage.cluster.run(
        'sbatch', '--parsable', '-n2', '--wrap', f'$PYTHON {command}', cwd=stage.folder, env=stage.environment()
    )
    stage.ended(sent.stdout.strip(), restarts=0, state='FAILED')
    assert 'in a batch script, without srun: this is one process, and the job has 2 tasks' in stage.logs()
    assert 'Traceback' not in stage.logs()
