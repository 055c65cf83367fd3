"""SparK and FCMAE give the numbers of the official code: maps, reconstructions, losses, gradients, running statistics, on both paths."""

from pathlib import Path

import pytest
import torch

from selfsup.models.visible import encode_visible
from selfsup.registry import MODELS

GOLDEN = Path(__file__).parents[1] / 'golden'
PATHS = ('visible', 'masked')


def load(name):
    return torch.load(GOLDEN / f'{name}.pt', weights_only=True)


def close(found, expected, limit):
    """Largest difference at most `limit` of the largest number."""
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= limit * expected.abs().max()


# ---- SparK ----


def spark_key(name, prefix):
    """Our name of an entry of the official state dict."""
    for official, ours in (
        ('sparse_encoder.sp_cnn.', prefix),
        ('dense_decoder.dec.', 'decoder.blocks.'),
        ('.up_sample.', '.up.'),
        ('dense_decoder.proj', 'decoder.proj'),
        ('densify_norms', 'neck.norms'),
        ('densify_projs', 'neck.projs'),
        ('mask_tokens', 'neck.mask_tokens'),
    ):
        name = name.replace(official, ours)
    return name


def spark(name, path):
    """The golden's model in train mode with its weights, the golden, and the prefix of the backbone."""
    golden, saved = load(f'spark_{name}_golden'), load(f'spark_{name}_model')
    config = golden['config']
    if name == 'convnext':
        backbone = {'type': 'ConvNeXt', 'depths': config['depths'], 'dims': config['dims'], 'out_indices': (1, 2, 3, 4)}
    else:
        backbone = {
            'type': 'TIMMBackbone',
            'model_name': {'basic': 'resnet18', 'bottleneck': 'resnet50'}[name],
            'layers': config['depths'],
            'channels': config['dims'],
            'out_indices': (1, 2, 3, 4),
        }
    model = MODELS.build(
        {
            'type': 'SparK',
            'backbone': backbone,
            'neck': {'type': 'SparKNeck', 'norm': config['densify_norm']},
            'decoder': {'type': 'LightDecoder', 'width': config['width']},
            'head': {'type': 'MaskedPixelHead'},
            'path': path,
        }
    )
    prefix = 'backbone.' if name == 'convnext' else 'backbone.model.'
    dead = ('imn_m', 'imn_s', 'norm_black', 'config')
    model.load_state_dict({spark_key(k, prefix): v for k, v in saved['module'].items() if k not in dead})
    return model.train(), golden, prefix


@pytest.mark.parametrize('path', PATHS)
@pytest.mark.parametrize('name', ['basic', 'bottleneck', 'convnext'])
def test_spark(name, path):
    model, golden, prefix = spark(name, path)
    img, visible = golden['inp'].double(), golden['active_b1ff'][:, 0]
    # in float64: a rounding error that takes one activation across a kink of a ReLU6 moves the gradients of these small maps by 1 %
    step = model.double()({'img': img, 'visible': visible})
    step.total.backward()
    torch.testing.assert_close(step.total, golden['loss_f64'], rtol=1e-9, atol=0)
    grads = {key: p.grad.float() for key, p in model.named_parameters()}
    assert {spark_key(k, prefix) for k in golden['grad_norms']} == set(grads)
    for key, expected in golden['grads'].items():
        close(grads[spark_key(key, prefix)], expected, 2e-4)
    for key, expected in golden['grad_norms'].items():
        assert grads[spark_key(key, prefix)].norm().item() == pytest.approx(expected, rel=1e-4, abs=1e-9), key
    state = model.state_dict()
    for key, expected in golden['bn_after'].items():
        torch.testing.assert_close(state[spark_key(key, prefix)].to(expected.dtype), expected, rtol=5e-5, atol=1e-6)


@pytest.mark.parametrize('path', PATHS)
@pytest.mark.parametrize('name', ['basic', 'bottleneck', 'convnext'])
def test_spark_maps_and_reconstruction(name, path):
    model, golden, _ = spark(name, path)
    img, visible = golden['inp'], golden['active_b1ff'][:, 0]
    again, _, _ = spark(name, path)
    with torch.no_grad():
        for found, expected in zip(encode_visible(again.backbone, img, visible, path), golden['feats'], strict=True):
            torch.testing.assert_close(found.dense(), expected, rtol=1e-4, atol=5e-5)
        prediction, last = model.predict_patches(img, visible)
    torch.testing.assert_close(model.head.unpatchify(prediction), golden['rec'], rtol=1e-4, atol=5e-5)
    torch.testing.assert_close(last, golden['feats'][-1], rtol=1e-4, atol=5e-5)
    torch.testing.assert_close(model({'img': img, 'visible': visible}).total, golden['loss'], rtol=1e-5, atol=0)
    counts = model.masking.draw(img).sum(dim=(1, 2))
    assert (counts == golden['len_keep']).all()


@pytest.mark.parametrize('path', PATHS)
@pytest.mark.parametrize('name', ['basic', 'bottleneck', 'convnext'])
def test_spark_with_unequal_numbers_of_blocks(name, path):
    model, golden, _ = spark(name, path)
    visible = golden['ragged_active_b1ff'][:, 0]
    assert len(set(visible.sum(dim=(1, 2)).tolist())) > 1
    loss = model({'img': golden['inp'], 'visible': visible}).total
    torch.testing.assert_close(loss, golden['ragged_loss'], rtol=1e-5, atol=0)


# ---- FCMAE ----


def fcmae_entry(name, value):
    """Our name and layout of an entry of the official state dict in the sparse layout (or of its gradient)."""
    if name.startswith('encoder.'):
        name = 'backbone.' + name.removeprefix('encoder.').replace('.ln.', '.').replace('.linear.', '.')
        if name.endswith('.kernel'):
            side = round(value.shape[0] ** 0.5)
            value = value.reshape(side, side, *value.shape[1:])  # (column, row, [in,] out)
            value = value.permute(3, 2, 1, 0) if value.dim() == 4 else value.permute(2, 1, 0)[:, None]
            name = name.replace('.kernel', '.weight')
        elif '.grn.' in name:
            value = value[None, None]
        elif name.endswith('.bias'):
            value = value.flatten()
    return name, value


def fcmae(scope, norm_pix, path):
    """The golden's model in train mode with its weights."""
    golden, saved = load('fcmae_golden'), load('fcmae_model')
    config = golden['config']
    model = MODELS.build(
        {
            'type': 'FCMAE',
            'backbone': {
                'type': 'ConvNeXtV2',
                'depths': config['depths'],
                'dims': config['dims'],
                'out_indices': (4,),
                'grn_scope': scope,
            },
            'decoder': {
                'type': 'ConvNeXtV2Decoder',
                'width': config['decoder_embed_dim'],
                'depth': config['decoder_depth'],
            },
            'head': {'type': 'MaskedPixelHead', 'norm_pix': norm_pix},
            'path': path,
        }
    )
    model.load_state_dict(dict(fcmae_entry(k, v) for k, v in saved['model'].items()))
    return model.train(), golden, saved['imgs']


def grid(mask):
    """Official masks, 1 = removed, as our visible blocks."""
    return mask.reshape(len(mask), 3, 3) == 0


SCOPES = pytest.mark.parametrize(('scope', 'name'), [('batch', 'batch'), ('image', 'per_sample')])


@SCOPES
@pytest.mark.parametrize('path', PATHS)
@pytest.mark.parametrize('norm_pix', [False, True])
def test_fcmae(scope, name, norm_pix, path):
    model, golden, img = fcmae(scope, norm_pix, path)
    visible = grid(golden['mask'])
    step = model({'img': img, 'visible': visible})
    step.total.backward()
    key = f'{name}_normpix{int(norm_pix)}'
    torch.testing.assert_close(step.total, golden[f'loss_{key}'], rtol=1e-5, atol=0)
    grads = {key: p.grad for key, p in model.named_parameters()}
    assert all(grad is not None for grad in grads.values()) and len(golden[f'grads_{key}']) == 15
    for official, expected in golden[f'grads_{key}'].items():
        ours, expected = fcmae_entry(official, expected)
        close(grads[ours], expected, 1e-3)


@SCOPES
@pytest.mark.parametrize('path', PATHS)
def test_fcmae_map_prediction_and_unequal_numbers_of_blocks(scope, name, path):
    model, golden, img = fcmae(scope, False, path)
    with torch.no_grad():
        prediction, last = model.predict_patches(img, grid(golden['mask']))
        torch.testing.assert_close(last, golden[f'encoder_{name}'], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            prediction.permute(0, 3, 1, 2), load('fcmae_pred')[f'pred_{name}'], rtol=1e-4, atol=1e-5
        )
        ragged = grid(golden['ragged_mask'])
        assert len(set(ragged.sum(dim=(1, 2)).tolist())) > 1
        torch.testing.assert_close(
            model.predict_patches(img, ragged)[1], golden[f'ragged_encoder_{name}'], rtol=1e-4, atol=1e-5
        )
        loss = model({'img': img, 'visible': ragged}).total
        torch.testing.assert_close(loss, golden[f'ragged_loss_{name}_normpix0'], rtol=1e-5, atol=0)
        if scope == 'image':
            torch.testing.assert_close(model.extract(img)[-1], golden['dense_unmasked_encoder'], rtol=1e-4, atol=1e-5)
    assert (model.masking.draw(img).sum(dim=(1, 2)) == 3).all()  # the official number of 9
