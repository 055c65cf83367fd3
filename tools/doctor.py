"""Look at this machine and, with a config, at its data and speed: python tools/doctor.py [CFG]; see selfsup/protocols/doctor.py."""

from selfsup import cli, protocols

main = protocols.command('doctor')

if __name__ == '__main__':
    cli.run(main)
