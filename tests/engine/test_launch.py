"""Reading Slurm's variables, without Slurm."""

import pytest

from selfsup.cluster.slurm import first_host, slurm_environment
from selfsup.engine.processes.launch import init_distributed
from selfsup.errors import ConfigError


@pytest.mark.parametrize(
    ('nodelist', 'host'),
    [
        ('n1', 'n1'),
        ('n[1-2]', 'n1'),
        ('node[01-03],gpu7', 'node01'),
        ('a-b[003,7]', 'a-b003'),
        ('gpu7,node[01-03]', 'gpu7'),
        ('rack1-n[08-11,20]', 'rack1-n08'),
        ('rack[2-3]n[007,9],other', 'rack2n007'),
        ('a[1-2]b', 'a1b'),
    ],
)
def test_first_host_of_a_list(nodelist, host):
    assert first_host(nodelist) == host


def test_one_node_talks_to_itself():
    env = slurm_environment(
        {'SLURM_PROCID': '1', 'SLURM_NTASKS': '2', 'SLURM_LOCALID': '1', 'SLURM_NNODES': '1', 'SLURM_JOB_ID': '12'}
    )
    assert env['MASTER_ADDR'] == '127.0.0.1'
    assert (env['RANK'], env['WORLD_SIZE'], env['LOCAL_RANK']) == ('1', '2', '1')
    assert 20000 <= int(env['MASTER_PORT']) < 32000


def test_node_names_that_do_not_resolve_fall_back_to_where_srun_ran():
    env = {
        'SLURM_PROCID': '0',
        'SLURM_NTASKS': '2',
        'SLURM_NNODES': '2',
        'SLURM_JOB_NODELIST': 'no-such-host-q[7-8]',
        'SLURM_LAUNCH_NODE_IPADDR': '127.0.0.1',
    }
    assert slurm_environment(env)['MASTER_ADDR'] == '127.0.0.1'
    assert slurm_environment({**env, 'SLURM_JOB_NODELIST': 'localhost,other'})['MASTER_ADDR'] == 'localhost'


def test_steps_of_one_job_get_different_ports_and_all_tasks_the_same():
    env = {'SLURM_PROCID': '0', 'SLURM_NTASKS': '2', 'SLURM_JOB_ID': '7', 'SLURM_STEP_ID': '0'}
    first = slurm_environment(env)['MASTER_PORT']
    assert slurm_environment({**env, 'SLURM_PROCID': '1'})['MASTER_PORT'] == first
    assert slurm_environment({**env, 'SLURM_STEP_ID': '1'})['MASTER_PORT'] != first
    assert slurm_environment(env, port=29999)['MASTER_PORT'] == '29999'


def test_what_the_user_set_wins():
    env = {'SLURM_PROCID': '0', 'SLURM_NTASKS': '2', 'MASTER_ADDR': '10.1.2.3', 'MASTER_PORT': '1234'}
    assert slurm_environment(env)['MASTER_ADDR'] == '10.1.2.3'
    assert slurm_environment(env)['MASTER_PORT'] == '1234'


def test_slurm_without_slurm_is_one_clear_error():
    with pytest.raises(ConfigError, match=r'SLURM_PROCID, SLURM_NTASKS is not set: start through tools/srun_train.sh'):
        slurm_environment({})


@pytest.mark.parametrize('nodelist', ['', 'n[1-2', '[]', '],n1'])
def test_a_node_list_that_is_none(nodelist):
    with pytest.raises(ConfigError, match='set MASTER_ADDR to the first node'):
        first_host(nodelist)


def test_a_batch_script_is_no_task_of_several():
    """Slurm sets SLURM_PROCID=0 there too: one process would wait for the others."""
    batch = {'SLURM_PROCID': '0', 'SLURM_NTASKS': '8', 'SLURM_JOB_ID': '7', 'ENVIRONMENT': 'BATCH'}
    with pytest.raises(ConfigError, match=r'without srun: this is one process, and the job has 8 tasks\. Write srun'):
        slurm_environment(batch)
    assert slurm_environment({**batch, 'SLURM_NTASKS': '1'})['WORLD_SIZE'] == '1'
    step = {**batch, 'SLURM_STEP_ID': '0', 'SLURM_STEP_NUM_TASKS': '2'}
    assert slurm_environment(step)['WORLD_SIZE'] == '2'  # fewer than the job has


def test_unknown_launcher_and_missing_torchrun(monkeypatch):
    with pytest.raises(ConfigError, match="--launcher 'mpi' is not known"):
        init_distributed('mpi')
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT'):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match='needs RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT'):
        init_distributed('pytorch')


def test_unknown_backend(monkeypatch):
    for name, value in (
        ('RANK', '0'),
        ('WORLD_SIZE', '1'),
        ('LOCAL_RANK', '0'),
        ('MASTER_ADDR', 'localhost'),
        ('MASTER_PORT', '29500'),
    ):
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=r"dist_params.backend='ncll' is not known\. Did you mean 'nccl'\?"):
        init_distributed('pytorch', backend='ncll')


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('MASTER_PORT', '0'),
        ('MASTER_PORT', '70000'),
        ('MASTER_PORT', 'x'),
        ('WORLD_SIZE', '0'),
        ('RANK', '2'),
        ('RANK', '-1'),
        ('LOCAL_RANK', 'first'),
    ],
)
def test_numbers_of_the_environment_that_cannot_be_meant(monkeypatch, name, value):
    good = {'RANK': '0', 'WORLD_SIZE': '2', 'LOCAL_RANK': '0', 'MASTER_ADDR': 'localhost', 'MASTER_PORT': '29500'}
    for key, number in {**good, name: value}.items():
        monkeypatch.setenv(key, number)
    with pytest.raises(ConfigError, match=rf"^{name}: '{value}' is not a whole number from \d+ to \d+\.$"):
        init_distributed('pytorch')


@pytest.mark.parametrize('port', [0, 70000, -1])
def test_a_port_that_does_not_exist(port):
    with pytest.raises(ConfigError, match=rf"^PORT \(or --port\): '{port}' is not a whole number from 1 to 65535"):
        init_distributed('slurm', port=port)


@pytest.mark.parametrize('port', ['0', 'x', '99999'])
def test_a_port_of_slurms_environment_that_does_not_exist(port):
    with pytest.raises(ConfigError, match=rf"^MASTER_PORT: '{port}' is not"):
        slurm_environment({'SLURM_PROCID': '0', 'SLURM_NTASKS': '2', 'MASTER_PORT': port})
