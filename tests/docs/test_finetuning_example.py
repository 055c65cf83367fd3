"""The config file of finetuning.md, for images of the reader's own."""

from __future__ import annotations

from selfsup.config import compile_config, load

from .pages import ROOT, blocks


def test_it_reads_the_folders_it_names(tmp_path):
    (text,) = (block.text for block in blocks(ROOT / 'docs' / 'benchmarks' / 'finetuning.md', 'python'))
    file = tmp_path / 'mine.py'
    file.write_text(text.replace("_base_ = '", f"_base_ = '{ROOT}/configs/"))
    cfg = compile_config(load(str(file)))
    average, validation = cfg['custom_hooks']
    assert average == {'type': 'EMAHook', 'momentum': 0.999, 'evaluate': True}
    sources = [part['dataset']['data_source'] for part in (cfg['train_dataloader'], cfg['val_dataloader'], validation)]
    assert sources == [{'type': 'ImageFolder', 'root': f'data/mine/{part}'} for part in ('train', 'val', 'val')]
    assert cfg['model']['head']['num_classes'] == 3 and validation['dataset']['pipeline'][0]['size'] == 256
